"""The tables of a report as files: Markdown, LaTeX and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from docendo.files import write_atomically
from docendo.numbers import MINUS
from docendo.reports.record import Record
from docendo.reports.sections import Shown, sections
from docendo.reports.standing import Standing
from docendo.reports.tables import Table

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    MINUS: "$-$",
}


def write_tables(shown: Shown, folder: Path) -> list[Path]:
    """Write each table as Markdown and LaTeX, and all numbers in full as `results.csv` and `runs.csv`.

    Args:
        shown: what the report is made of.
        folder: where; made if it is not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    several = len(shown.record.groups) > 1
    found: dict[str, list[tuple[str, Table]]] = {}
    for section in sections(shown):
        for part in section.parts:
            if part.table is not None:
                found.setdefault(part.table.name, []).append((part.heading if several else "", part.table))
    for name, tables in found.items():
        written[folder / f"{name}.md"] = "\n".join(markdown(table, heading) for heading, table in tables)
        written[folder / f"{name}.tex"] = "\n".join(latex(table, heading) for heading, table in tables)
    standing = [one for each in shown.standing.values() for one in each]
    written[folder / "results.csv"] = as_csv(_results(standing))
    written[folder / "runs.csv"] = as_csv(_runs(shown.record))
    for path, text in written.items():
        write_atomically(path, text.encode())
    return list(written)


def markdown(table: Table, heading: str = "") -> str:
    r"""Write a table as Markdown.

    >>> from docendo.reports.tables import Row
    >>> print(markdown(Table("results", ("Method", "Seeds"), (Row("a|b", ("3",)),))), end="")
    | Method | Seeds |
    |---|---|
    | a\|b | 3 |
    """
    lines = [table.headings, *((row.label, *row.cells) for row in table.rows)]
    rows = [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines]
    above = f"**{heading}**\n\n" if heading else ""
    return above + "\n".join([rows[0], "|" + "---|" * len(table.headings), *rows[1:]]) + "\n"


def latex(table: Table, heading: str = "") -> str:
    r"""Write a table as LaTeX, for the package booktabs.

    >>> from docendo.reports.tables import Row
    >>> print(latex(Table("results", ("Method", "Top-1, %"), (Row("my_kd", ("3 ± 1",)),))), end="")
    \begin{tabular}{ll}
    \toprule
    Method & Top-1, \% \\
    \midrule
    my\_kd & 3 $\pm$ 1 \\
    \bottomrule
    \end{tabular}
    """

    def line(cells: Iterable[str]) -> str:
        return " & ".join("".join(_LATEX.get(letter, letter) for letter in cell) for cell in cells) + r" \\"

    rows = [line((row.label, *row.cells)) for row in table.rows]
    above = [f"% {heading}"] if heading else []
    return "\n".join(
        [
            *above,
            rf"\begin{{tabular}}{{{'l' * len(table.headings)}}}",
            r"\toprule",
            line(table.headings),
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write rows, all with the same names, as CSV with a heading."""
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def _results(standing: Iterable[Standing]) -> list[dict[str, Any]]:
    """Give a row for each cell; accuracies in percent, differences in points."""
    return [
        {
            "label": one.cell.label,
            "method": one.cell.first.method,
            "data": one.cell.first.data,
            "network": one.cell.network,
            "seeds": one.top1.seeds,
            "test_top1": one.top1.mean,
            "test_top1_std": one.top1.std,
            "test_top1_margin": one.top1.margin,
            "difference": c.difference if c else None,
            "difference_margin": c.margin if c else None,
            "p_value": c.p_value if c else None,
            "p_adjusted": c.p_adjusted if c else None,
            "effect": c.effect if c else None,
            "outcome": one.verdict.outcome if one.verdict else "baseline",
            "val_top1": one.mean("val_top1"),
            "best_val_top1": one.mean("best_val_top1"),
            "best_test_top1": one.mean("best_test_top1"),
            "negative_log_likelihood": one.measure("negative_log_likelihood"),
            "calibration_error": one.measure("calibration_error"),
            "agreement": one.measure("teacher", "agreement"),
            "divergence": one.measure("teacher", "divergence"),
            "parameters": one.cell.first.about["parameters"],
            "macs": one.cell.first.about["macs"],
            "seconds": one.seconds,
        }
        for one in standing
        for c in (one.comparison,)
    ]


def _runs(record: Record) -> list[dict[str, Any]]:
    """Give a row for each run but the teachers'."""
    return [
        {
            "label": cell.label,
            "seed": seed,
            "folder": run.folder.name,
            "test_top1": run.top1,
            "val_top1": run.about["val_top1"],
            "best_val_top1": run.about["best_val_top1"],
            "best_val_epoch": run.about["best_val_epoch"],
            "best_test_top1": run.about.get("best_test_top1"),
            "seconds": run.results["seconds"],
            "command": run.results["command"],
        }
        for cell in record.cells
        for seed, run in cell.runs.items()
    ]

"""`docendo study`, and what all studies show at their end."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.table import Table

from docendo.cli.errors import number
from docendo.cli.report import report as write_report
from docendo.cli.show import Output, table
from docendo.errors import DocendoError
from docendo.numbers import difference, spread

if TYPE_CHECKING:
    from docendo.studies.running import Study
    from docendo.studies.table import Row

Jobs = Annotated[int, Parameter(converter=number, help="Processes that share the work on this machine.")]
Report = Annotated[
    bool, Parameter(name=(), negative="--no-report", show_default=False, help="Write no page at the end.")
]
Storage = Annotated[
    str | None,
    Parameter(help="For several machines: journal or sqlite (a file in the folder), or a database's address."),
]


def study(
    file: Annotated[
        Path | None, Parameter(name="FILE", help="YAML file of the study, or the folder of one that was begun.")
    ] = None,
    /,
    *,
    jobs: Jobs = 1,
    storage: Storage = None,
    out: Annotated[Path | None, Parameter(help="Folder of the study; by default in runs, named after FILE.")] = None,
    report: Report = True,
) -> None:
    """Carry out a study that a file defines: methods, networks, data and settings in a grid; or go on with it."""
    if file is None:
        raise DocendoError("study needs a FILE, such as: docendo study grid.yaml")
    import docendo
    from docendo.cli.study_live import watch_on

    shown = Output()
    with watch_on(shown) as watch:
        done = docendo.study(file, jobs=jobs, storage=storage, out=out, watch=watch)
    show_study(done, shown, report=report)


def show_study(done: Study, shown: Output, *, report: bool) -> None:
    """Show the table of a study, write its page, and say where all is.

    Raises:
        DocendoError: if a run failed.
    """
    shown.print()
    shown.print(study_table(done.rows))
    shown.print()
    shown.print(how_to_read(done))
    shown.print(f"Runs, weights and logs: {done.folder}", soft_wrap=True)
    if report and any(cell["seeds"] for cell in done.index["cells"]):
        if importlib.util.find_spec("plotly") is None:
            shown.print("A page with curves and more: pip install 'docendo[report]', then docendo report", done.folder)
        else:
            write_report(done.folder)
    if done.failed:
        first, message = next(iter(done.failed.items()))
        more = f" (for the others see {done.folder / 'index.json'})" if len(done.failed) > 1 else ""
        number = f"{len(done.failed)} run{'s' * (len(done.failed) > 1)}"
        raise DocendoError(f"{number} failed; the same command tries again. {first}: {message}{more}")


def study_table(rows: tuple[Row, ...]) -> Table:
    """Show a row for each cell: mean and spread, the difference from its baseline, and what that means."""
    numbers, several = ("seeds", "test top-1"), len(networks_of(rows)) > 1
    whose = ("method", "network") if several else ("method",)
    made = table(*whose, *numbers, "difference", "verdict", numbers=(*numbers, "difference"))
    for row in rows:
        seeds = f"{len(row.values)}{f' ({len(row.failed)} failed)' if row.failed else ''}"
        top1 = beside = "-"
        if row.summary is not None:
            top1 = spread(row.summary.mean, row.summary.std)
        if row.comparison is not None:
            beside = difference(row.comparison.difference, row.comparison.margin)
        verdict = row.verdict.text if row.verdict else "the baseline" if row.is_baseline else "-"
        made.add_row(row.label, *([row.network] if several else []), seeds, top1, beside, verdict)
    return made


def networks_of(rows: tuple[Row, ...]) -> list[str]:
    """Name the networks to deploy."""
    return list(dict.fromkeys(row.network for row in rows))


def how_to_read(done: Study) -> str:
    """Say what the columns are."""
    images = sorted({cell["test_images"] for cell in done.index["cells"]})
    counted = " or ".join(f"{n:,}" for n in images)
    points = " or ".join(f"{100 / n:.2g}" for n in images)
    networks = networks_of(done.rows)
    deployed = networks[0] if len(networks) == 1 else "network"
    return (
        f"test top-1: of the deployed {deployed} at the last epoch, mean ± standard deviation over seeds, in percent "
        f"of {counted} test images (one of them is {points} points). difference: from {done.index['baseline']}, in "
        "points, paired by seed, with its 95% interval; the verdict is corrected for the number of comparisons."
    )

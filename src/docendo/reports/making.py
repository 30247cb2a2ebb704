"""`docendo report`: the page of a run or a study, and its tables and figures as files."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from docendo.errors import DocendoError
from docendo.files import write_atomically
from docendo.reports.figures.theme import styles
from docendo.reports.page import page
from docendo.reports.pictured import write_figures
from docendo.reports.reading import read_record
from docendo.reports.record import Record
from docendo.reports.sections import Shown
from docendo.reports.standing import standings
from docendo.reports.written import write_tables


def report(
    path: str | Path,
    *,
    baseline: str | None = None,
    out: str | Path | None = None,
    tables: bool = False,
    figures: Literal["png", "svg"] | None = None,
) -> Path:
    """Write `report.html` of a finished run, a study, or a folder of runs: one page that needs nothing else.

    Nothing is trained or measured here: what is not in the folder is left out. `docendo.measure` adds to it.

    Args:
        path: the folder.
        baseline: the label of what others are compared with; by default the study's, or plain training.
        out: the folder to write to; by default the same.
        tables: whether to write the tables too, as Markdown, LaTeX and CSV, in `tables`.
        figures: whether to write each figure too, in `figures`, and as what; needs Chrome or Chromium.

    Returns:
        The page.

    Raises:
        DocendoError: nothing is finished there, a file cannot be read or written, or what draws figures is missing.
    """
    record = read_record(path, baseline)
    shown = shown_of(record)
    folder = Path(out) if out is not None else record.folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DocendoError(f"cannot write to {folder}: {error.strerror or error}; choose another --out") from error
    target = folder / "report.html"
    write_atomically(target, page(shown).encode())
    if tables:
        write_tables(shown, folder / "tables")
    if figures is not None:
        write_figures(shown, folder / "figures", figures)
    return target


def shown_of(record: Record) -> Shown:
    """Give what all sections are made of."""
    standing = {i: standings(group) for i, group in enumerate(record.groups)}
    return Shown(record, standing, styles(record))

"""The figures of a report as files."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Literal

import plotly.graph_objects as go
import plotly.io

from docendo.errors import DocendoError
from docendo.reports.figures.theme import text
from docendo.reports.sections import Drawing, Shown, sections

WIDTH = 720
"""In pixels; a PNG file has twice as many."""


def write_figures(shown: Shown, folder: Path, kind: Literal["png", "svg"]) -> list[Path]:
    """Write each figure to a file of its own, in light colours, its title above it.

    Args:
        shown: what the report is made of.
        folder: where; made if it is not there.
        kind: which format.

    Raises:
        DocendoError: if kaleido, which has figures drawn by a browser, or that browser is missing.
    """
    if importlib.util.find_spec("kaleido") is None:
        raise DocendoError(f"{kind} figures need kaleido, which is not installed: pip install 'docendo[report]'")
    folder.mkdir(parents=True, exist_ok=True)
    figures: dict[Path, go.Figure] = {}
    for section in sections(shown):
        for drawing in (drawing for part in section.parts for drawing in part.drawings):
            figures[folder / f"{_file_name(drawing.name)}.{kind}"] = _titled(section.title, drawing)
    try:
        plotly.io.write_images(
            list(figures.values()),
            list(figures),
            format=kind,
            width=WIDTH,
            height=[each.layout.height for each in figures.values()],
            scale=2 if kind == "png" else 1,
        )
    except RuntimeError as error:  # whatever keeps kaleido from a browser ends as one
        raise DocendoError(
            f"{kind} figures are drawn by Chrome or Chromium, which cannot be started here "
            f"({str(error).strip().splitlines()[0]}): install one, or set BROWSER_PATH to it"
        ) from error
    return list(figures)


def _titled(section: str, drawing: Drawing) -> go.Figure:
    """Give a figure that stands alone: with a title, room for it, and a legend."""
    made = go.Figure(drawing.figure)
    made.update_layout(
        title={"text": text(" ".join([section.rstrip("?") + ":", drawing.title, drawing.note]))},
        margin={"t": 56, "l": 24, "r": 32, "b": 24},
        height=made.layout.height + 56 + 24 * len(drawing.legend),
        legend={"orientation": "h", "entrywidthmode": "fraction", "entrywidth": 1, "y": -0.25, "yanchor": "top"},
        paper_bgcolor="white",
    )
    return made


def _file_name(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name)

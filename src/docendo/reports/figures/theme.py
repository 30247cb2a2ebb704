"""How all figures look: one palette that table and figures share, and a light and a dark template."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import plotly.graph_objects as go

from docendo.reports.record import Record

GREY = "#7d8590"
"""The baseline's colour."""

PALETTE = ("#2f7fc1", "#d55e00", "#0e8f6a", "#c2639a", "#a87b00", "#7b68c8")
"""Told apart by people with any colour vision, and at least 3.6 times as bright or dark as either background."""

DASHES = ("solid", "dash", "dot")

FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Liberation Sans", Arial, sans-serif'

HEIGHT = 260
"""Of a small figure, in pixels."""


class Style(NamedTuple):
    """How a method is drawn.

    Attributes:
        colour: of its lines and marks.
        dash: of its lines.
    """

    colour: str
    dash: str


BASELINE = Style(GREY, "solid")


def styles(record: Record) -> dict[str, Style]:
    """Give each cell its style, by label: grey for baselines, the others in the order of the record."""
    baselines = {group.baseline.label for group in record.groups if group.baseline is not None}
    if len(record.cells) == 1:
        baselines = set()
    others = [cell.label for cell in record.cells if cell.label not in baselines]
    return {**dict.fromkeys(baselines, BASELINE), **{label: style(i) for i, label in enumerate(others)}}


def style(place: int) -> Style:
    """Give the style of the method at a place.

    >>> style(0).dash, style(6).dash, style(0).colour == style(6).colour
    ('solid', 'dash', True)
    """
    return Style(PALETTE[place % len(PALETTE)], DASHES[place // len(PALETTE) % len(DASHES)])


def template(*, dark: bool) -> go.layout.Template:
    """Give the template of light or dark pages; figures themselves hold no colours but those of marks."""
    ink, faint, line = ("#e6e8ea", "#a9b0b7", "#333a41") if dark else ("#1d2125", "#5b636b", "#e2e0da")
    axis = {
        "gridcolor": line,
        "zerolinecolor": line,
        "linecolor": faint,
        "tickcolor": faint,
        "tickfont": {"color": faint},
        "title": {"font": {"color": faint, "size": 14}, "standoff": 8},
        "automargin": True,
        "ticks": "",
        "zeroline": False,
    }
    paper = "#14171a" if dark else "#ffffff"
    return go.layout.Template(
        layout={
            "font": {"family": FONT, "size": 14, "color": ink},
            "title": {"font": {"size": 16}, "x": 0, "xref": "paper", "xanchor": "left"},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "colorway": list(PALETTE),
            "hoverlabel": {"bgcolor": paper, "bordercolor": faint, "font": {"family": FONT, "size": 14, "color": ink}},
            "xaxis": axis,
            "yaxis": axis,
            "legend": {"bgcolor": "rgba(0,0,0,0)", "font": {"size": 14}},
            "annotationdefaults": {"font": {"color": faint, "size": 14}},
            "shapedefaults": {"line": {"color": faint, "width": 1}},
        }
    )


def figure(traces: Sequence[Any], *, height: int = HEIGHT, **layout: Any) -> go.Figure:
    """Put traces into a figure with narrow margins and no legend."""
    base = {"height": height, "showlegend": False, "margin": {"l": 8, "r": 24, "t": 14, "b": 8}, "dragmode": False}
    made = go.Figure(list(traces), layout={**base, "template": template(dark=False)})
    made.update_layout(**layout)
    # Fixed, so that a finger on a figure scrolls the page.
    made.update_xaxes(fixedrange=True)
    made.update_yaxes(fixedrange=True)
    return made


def wrapped(label: str, width: int = 14) -> str:
    """Give a name for an axis, a long one broken at an underscore or dash.

    >>> wrapped("collaborative_teaching"), wrapped("kd")
    ('collaborative_<br>teaching', 'kd')
    """
    cut = max(label.rfind("_", 1, width + 1), label.rfind("-", 1, width + 1)) if len(label) > width else -1
    return text(label) if cut < 0 else f"{text(label[: cut + 1])}<br>{wrapped(label[cut + 1 :], width)}"


def shade(colour: str, opacity: float) -> str:
    """Give a colour that lets through what is behind it.

    >>> shade("#ff8000", 0.2)
    'rgba(255,128,0,0.2)'
    """
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def text(words: str) -> str:
    """Give words for a figure, which takes some HTML, so that none of them are taken for that.

    >>> text("student<labels:ce")
    'student&lt;labels:ce'
    """
    return words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

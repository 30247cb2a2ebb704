"""Whether a network is as often right as it is sure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import plotly.graph_objects as go

from docendo.reports.figures.theme import GREY, Style, figure, shade
from docendo.reports.record import Cell

QUARTERS = (25, 50, 75, 100)


class Bar(NamedTuple):
    """A bar of a reliability diagram.

    Attributes:
        lower: its images' confidence is above this.
        upper: and at most this.
        images: how many it has, over all seeds.
        accuracy: the fraction of them that are right.
        confidence: their mean confidence.
    """

    lower: float
    upper: float
    images: int
    accuracy: float
    confidence: float


def reliability(cell: Cell, baseline: Cell | None, style: Style) -> go.Figure | None:
    """Draw how often a cell's deployed network is right by how sure it is, all seeds together.

    Args:
        cell: the cell.
        baseline: drawn as a grey line, unless it is the cell itself.
        style: of the cell.

    Returns:
        The figure; None where nothing was measured.
    """
    own = bars(cell.measured())
    if not own:
        return None
    total, most = sum(bar.images for bar in own), max(bar.images for bar in own)
    fills = [shade(style.colour, round(0.12 + 0.68 * (bar.images / most) ** 0.5, 3)) for bar in own]
    traces: list[Any] = [
        go.Bar(
            x=[50 * (bar.lower + bar.upper) for bar in own],
            y=[100 * bar.accuracy for bar in own],
            width=[96 * (bar.upper - bar.lower) for bar in own],
            customdata=[[100 * bar.confidence, 100 * bar.images / total] for bar in own],
            marker={"color": fills, "line": {"color": style.colour, "width": 1}},
            hovertemplate="sure: %{customdata[0]:.0f}%<br>right: %{y:.0f}%<br>"
            "%{customdata[1]:.1f}% of the images<extra></extra>",
        ),
        go.Scatter(
            x=[0, 100], y=[0, 100], mode="lines", line={"color": GREY, "width": 1, "dash": "dot"}, hoverinfo="skip"
        ),
    ]
    if baseline is not None and baseline is not cell and (other := bars(baseline.measured())):
        traces.append(
            go.Scatter(
                x=[100 * bar.confidence for bar in other],
                y=[100 * bar.accuracy for bar in other],
                mode="lines+markers",
                line={"color": GREY, "width": 2},
                marker={"size": 5},
                hovertemplate="baseline: %{y:.0f}% right<extra></extra>",
            )
        )
    made = figure(traces)
    made.update_xaxes(title="sure", range=[0, 100], ticksuffix="%", showgrid=False, dtick=25)
    made.update_yaxes(title="right", range=[0, 100], tickvals=QUARTERS, ticktext=[f"{q}%" for q in QUARTERS])
    return made


def bars(measured: Iterable[Mapping[str, Any]]) -> list[Bar]:
    """Put the bins of several runs together, without empty ones.

    >>> one = {"lower": 0.0, "upper": 1.0, "images": 1, "accuracy": 1.0, "confidence": 0.5}
    >>> bars([{"reliability": [one]}, {"reliability": [{**one, "images": 3, "accuracy": 0.0}]}])
    [Bar(lower=0.0, upper=1.0, images=4, accuracy=0.25, confidence=0.5)]
    """
    together: dict[tuple[float, float], list[Mapping[str, Any]]] = {}
    for found in measured:
        for each in found["reliability"]:
            if each["images"]:
                together.setdefault((each["lower"], each["upper"]), []).append(each)
    made = []
    for (lower, upper), some in sorted(together.items()):
        images = sum(each["images"] for each in some)
        accuracy, confidence = (sum(e["images"] * e[key] for e in some) / images for key in ("accuracy", "confidence"))
        made.append(Bar(lower, upper, images, accuracy, confidence))
    return made

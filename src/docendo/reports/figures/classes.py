"""Which classes gain and which lose."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from docendo.reports.figures.theme import Style, figure, shade, text
from docendo.reports.record import Cell

MOST = 24
"""With more classes than this, those that change least are left out."""


def class_changes(cell: Cell, baseline: Cell, style: Style) -> go.Figure | None:
    """Draw how much the accuracy of each class differs from the baseline's, means over seeds, in points.

    Args:
        cell: the cell.
        baseline: another one.
        style: of the cell.

    Returns:
        The figure; None where one of both was not measured.
    """
    own, other = (_mean_accuracy(each.measured()) for each in (cell, baseline))
    names = classes_of(cell)
    if not own or not other or not len(names) == len(own) == len(other):
        return None
    changes = {
        name: 100 * (a - b) for name, a, b in zip(names, own, other, strict=True) if a is not None and b is not None
    }
    chosen = most_changed(changes)
    bars = go.Bar(
        x=list(chosen.values()),
        y=[text(name) for name in chosen],
        orientation="h",
        marker=_marker(list(chosen.values()), style),
        hovertemplate="%{y}: %{x:+.1f} points<extra></extra>",
    )
    made = _figure([bars], len(chosen))
    made.update_xaxes(title="points")
    return made


def class_exchange(cell: Cell, style: Style) -> go.Figure | None:
    """Draw, class by class, the images that a run has right and its teacher wrong, and the other way round.

    Args:
        cell: the first of its runs that was measured is drawn.
        style: of the cell.

    Returns:
        The figure; None where nothing was measured beside a teacher.
    """
    measured = cell.seen.measured() if cell.seen else None
    beside = (measured or {}).get("teacher")
    names = classes_of(cell)
    if beside is None or len(names) != len(beside["gained"]):
        return None
    counts = dict(zip(names, zip(beside["gained"], beside["lost"], strict=True), strict=True))
    chosen = most_changed({name: float(gained - lost) for name, (gained, lost) in counts.items()})
    y = [text(name) for name in chosen]
    bars = [
        go.Bar(
            x=[sign * counts[name][i] for name in chosen],
            y=y,
            customdata=[counts[name][i] for name in chosen],
            orientation="h",
            marker=_marker([float(sign)] * len(chosen), style),
            hovertemplate="%{y}: %{customdata} images " + words + "<extra></extra>",
        )
        for i, (sign, words) in enumerate(((1, "gained"), (-1, "lost")))
    ]
    made = _figure(bars, len(chosen))
    made.update_layout(barmode="relative")
    made.update_xaxes(title="images lost and gained")
    return made


def on_one_scale(figures: Iterable[go.Figure]) -> None:
    """Let figures of changes have the same axis, so that their bars can be compared."""
    figures = list(figures)
    values = [x for each in figures for bar in each.data for x in bar.x]
    if values:
        room = 0.05 * (max(values) - min(values)) or 1
        for each in figures:
            each.update_xaxes(range=[min(0, min(values)) - room, max(0, max(values)) + room])


def classes_of(cell: Cell) -> list[str]:
    """Give the names of the classes, as they were measured; nothing if they were not."""
    measures = cell.seen.measures if cell.seen else None
    return [str(name) for name in (measures or {}).get("classes", ())]


def most_changed(changes: Mapping[str, float]) -> dict[str, float]:
    """Give the changes from the largest gain to the largest loss; of many, those at both ends.

    >>> most_changed({"a": -1.0, "b": 2.0})
    {'b': 2.0, 'a': -1.0}
    """
    ordered = sorted(changes, key=lambda name: -changes[name])
    if len(ordered) > MOST:
        ordered = ordered[: MOST // 2] + ordered[-(MOST // 2) :]
    return {name: changes[name] for name in ordered}


def _mean_accuracy(measured: Sequence[Mapping[str, Any]]) -> list[float | None]:
    """Give the mean accuracy of each class over runs; None where a class has no images."""
    columns = zip(*(found["class_accuracy"] for found in measured), strict=True)
    return [statistics.fmean(known) if (known := [v for v in each if v is not None]) else None for each in columns]


def _marker(values: Sequence[float], style: Style) -> dict[str, Any]:
    """Fill gains, and leave losses hollow, so that colour alone says nothing."""
    fills = [shade(style.colour, 0.85 if value >= 0 else 0.12) for value in values]
    return {"color": fills, "line": {"color": style.colour, "width": 1.2}}


def _figure(bars: Sequence[go.Bar], count: int) -> go.Figure:
    made = figure(bars, height=64 + 22 * count, bargap=0.25)
    made.update_yaxes(autorange="reversed", showgrid=False, type="category", dtick=1)
    made.update_xaxes(zeroline=True, zerolinewidth=1.5)
    return made

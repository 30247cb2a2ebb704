"""How accuracy rose, epoch by epoch."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping

import plotly.graph_objects as go

from docendo.reports.figures.theme import BASELINE, PALETTE, Style, figure, shade, text
from docendo.reports.finished import Finished, points
from docendo.reports.record import Cell, Group


def curves(cell: Cell, baseline: Cell | None, style: Style, limits: tuple[float, float]) -> go.Figure | None:
    """Draw the validation accuracy of a cell's deployed network in its last phase, mean and band over seeds.

    Args:
        cell: the cell.
        baseline: drawn behind it in grey, unless it is the cell itself.
        style: of the cell.
        limits: of the accuracy, in percent, the same for all cells.

    Returns:
        The figure; None where no accuracy was kept.
    """
    own = points(run.curve() for run in cell.runs.values())
    if not own:
        return None
    traces = []
    if baseline is not None and baseline is not cell:
        traces += _band(points(run.curve() for run in baseline.runs.values()), BASELINE, baseline.label)
    traces += _band(own, style, cell.label)
    made = figure(traces, hovermode="x unified")
    _axes(made, limits)
    return made


def all_curves(run: Finished) -> go.Figure | None:
    """Draw the validation accuracy of all networks and branches of a run's last phase; None where there is none."""
    rows = run.last_phase()
    names = dict.fromkeys(name for row in rows for name in row if name.startswith("val_top1/"))
    traces = [
        go.Scatter(
            x=[int(row["epoch"]) for row in rows if name in row],
            y=[100 * float(row[name]) for row in rows if name in row],
            name=text(name.removeprefix("val_top1/")),
            mode="lines",
            line={"color": PALETTE[i % len(PALETTE)], "width": 2.5 if i == 0 else 1.5},
            hovertemplate="%{y:.1f}%",
        )
        for i, name in enumerate(sorted(names, key=lambda name: name != f"val_top1/{run.deployed}"))
    ]
    if not traces:
        return None
    made = figure(traces, height=320, hovermode="x unified", showlegend=len(traces) > 1)
    _axes(made, limits_of([[(0, y) for trace in traces for y in trace.y]]))
    return made


def shared_limits(group: Group) -> tuple[float, float]:
    """Give the range of accuracy that all curves of a group fit into."""
    return limits_of(run.curve() for cell in group.cells for run in cell.runs.values())


def limits_of(several: Iterable[list[tuple[int, float]]]) -> tuple[float, float]:
    """Give a range that holds all points, with some room; of no points, 0 to 100."""
    values = [y for curve in several for _, y in curve]
    if not values:
        return 0.0, 100.0
    room = 0.04 * (max(values) - min(values)) + 0.5
    return max(0.0, min(values) - room), min(100.0, max(values) + room)


def _band(found: Mapping[int, list[float]], style: Style, label: str) -> list[go.Scatter]:
    """Draw a mean, and around it one standard deviation where there are several seeds."""
    mean = {x: statistics.fmean(ys) for x, ys in found.items()}
    spread = {x: statistics.stdev(ys) for x, ys in found.items() if len(ys) > 1}
    line = go.Scatter(
        x=list(mean),
        y=list(mean.values()),
        name=text(label),
        mode="lines" if len(mean) > 1 else "markers",
        line={"color": style.colour, "width": 2.2, "dash": style.dash},
        hovertemplate="%{y:.1f}%",
    )
    if not spread:
        return [line]
    edges = [*spread, *reversed(spread)]
    heights = [mean[x] + s for x, s in spread.items()] + [mean[x] - spread[x] for x in reversed(spread)]
    band = go.Scatter(
        x=edges,
        y=heights,
        fill="toself",
        fillcolor=shade(style.colour, 0.2),
        line={"width": 0},
        mode="lines",
        hoverinfo="skip",
        showlegend=False,
    )
    return [band, line]


def _axes(made: go.Figure, limits: tuple[float, float]) -> None:
    made.update_xaxes(title="epoch", showgrid=False, tickformat="d", nticks=6)
    made.update_yaxes(ticksuffix="%", range=limits, nticks=6)

"""The difference of each method from the baseline, seed by seed, with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from docendo.reports.figures.theme import Style, figure, text, wrapped
from docendo.reports.record import Group
from docendo.reports.standing import Standing


def differences(group: Group, standing: Sequence[Standing], styles: Mapping[str, Style]) -> go.Figure | None:
    """Draw a row for each method: a mark for each seed, a dot and a line for the mean and its interval.

    Args:
        group: with a baseline.
        standing: of its cells, the best first.
        styles: of cells, by label.

    Returns:
        The figure; None if there is nothing to compare.
    """
    compared = [(one.cell, one.comparison) for one in standing if one.comparison is not None]
    if group.baseline is None or not compared:
        return None
    baseline = {seed: run.top1 for seed, run in group.baseline.runs.items()}
    traces = []
    for cell, c in compared:
        colour, name = styles[cell.label].colour, wrapped(cell.label)
        gains = {seed: run.top1 - baseline[seed] for seed, run in cell.runs.items() if seed in baseline}
        traces += [
            go.Scatter(
                x=list(gains.values()),
                y=[name] * len(gains),
                customdata=list(gains),
                mode="markers",
                marker={"symbol": "line-ns", "size": 8, "line": {"color": colour, "width": 2}},
                hovertemplate="seed %{customdata}: %{x:+.2f} points<extra></extra>",
            ),
            go.Scatter(
                x=[c.difference],
                y=[name],
                mode="markers",
                marker={"color": colour, "size": 12, "symbol": "circle" if c.margin is not None else "circle-open"},
                error_x={"type": "data", "array": [c.margin or 0], "color": colour, "thickness": 2, "width": 0},
                hovertemplate="%{x:+.2f}" + (f" ± {c.margin:.2f}" if c.margin is not None else "") + "<extra></extra>",
            ),
        ]
    rows = len(compared) * (42 if any("<br>" in wrapped(cell.label) for cell, _ in compared) else 34)
    made = figure(traces, height=70 + rows)
    made.update_xaxes(title=f"points of test top-1 beside {text(group.baseline.label)}", showgrid=True)
    made.update_yaxes(autorange="reversed", showgrid=False)
    made.add_vline(0, line={"width": 1.5})
    return made

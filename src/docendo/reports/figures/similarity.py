"""How alike the stages of student and teacher are."""

from __future__ import annotations

import statistics

import plotly.graph_objects as go

from docendo.reports.figures.theme import figure
from docendo.reports.record import Cell

SCALE = ((0.0, "#f0f5fa"), (1.0, "#114a80"))
"""From nothing in common to the same, by brightness alone."""


def similarity(cell: Cell) -> go.Figure | None:
    """Draw the alignment (CKA) of each stage of a cell's deployed network with each of its teacher's, mean over seeds.

    Returns:
        The figure; None where nothing was measured beside a teacher.
    """
    besides = [found["teacher"] for found in cell.measured() if "similarity" in found.get("teacher", {})]
    if not besides:
        return None
    rows = [
        [statistics.fmean(values) if None not in values else None for values in zip(*of_runs, strict=True)]
        for of_runs in zip(*(beside["similarity"] for beside in besides), strict=True)
    ]
    heat = go.Heatmap(
        z=rows,
        x=[f"{i}" for i in range(1, len(rows[0]) + 1)],
        y=[f"{i}" for i in range(1, len(rows) + 1)],
        zmin=0,
        zmax=1,
        colorscale=SCALE,
        showscale=False,
        xgap=2,
        ygap=2,
        texttemplate="%{z:.2f}",
        textfont={"size": 14},
        hovertemplate="student stage %{y}, teacher stage %{x}: %{z:.3f}<extra></extra>",
    )
    made = figure([heat], height=120 + 44 * len(rows))
    made.update_xaxes(title="teacher's stage", type="category", showgrid=False)
    made.update_yaxes(title="student's stage", type="category", showgrid=False, autorange="reversed")
    return made

"""What the loss terms were, epoch by epoch."""

from __future__ import annotations

import statistics

import plotly.graph_objects as go

from docendo.reports.figures.theme import GREY, Style, figure, style, text
from docendo.reports.finished import points
from docendo.reports.record import Cell


def losses(cell: Cell) -> go.Figure | None:
    """Draw all loss terms of the last phase of a cell, means over seeds, and their weighted sum in grey.

    Returns:
        The figure, logarithmic where all values allow it; None where no losses were kept.
    """
    rows = {seed: run.last_phase() for seed, run in cell.runs.items()}
    names = dict.fromkeys(n for of in rows.values() for row in of for n in row if n.startswith("loss/"))
    traces = []
    if len(names) == 2:  # the sum of one term says nothing new
        names.pop("loss/total", None)
    for i, name in enumerate(sorted(names, key=lambda n: n == "loss/total")):
        kept = [[(int(row["epoch"]), float(row[name])) for row in of if name in row] for of in rows.values()]
        mean = {x: statistics.fmean(ys) for x, ys in points(kept).items()}
        total = name == "loss/total"
        look = Style(GREY, "solid") if total else style(i)
        traces.append(
            go.Scatter(
                x=list(mean),
                y=list(mean.values()),
                name=text(spoken(name)),
                mode="lines" if len(mean) > 1 else "markers",
                line={"color": look.colour, "dash": look.dash, "width": 1.5 if total else 2},
                hovertemplate="%{y:.3g}",
            )
        )
    if not traces:
        return None
    made = figure(traces, hovermode="x unified", showlegend=True)
    made.update_xaxes(title="epoch", showgrid=False, tickformat="d", nticks=6)
    values = [y for trace in traces for y in trace.y]
    if min(values) > 0:
        made.update_yaxes(type="log", dtick=_ticks(max(values) / min(values)), tickformat="~g")
    return made


def _ticks(times: float) -> int | str:
    """Choose the labels of a logarithmic axis, by how many times the smallest value the largest is."""
    return 1 if times > 300 else "D2" if times > 6 else "D1"


def spoken(name: str) -> str:
    """Write the column of a loss as people read it.

    >>> spoken("loss/student<teacher:kd"), spoken("loss/total")
    ('student ← teacher: kd', 'weighted sum')
    """
    if name == "loss/total":
        return "weighted sum"
    learner, _, rest = name.removeprefix("loss/").partition("<")
    teacher, _, kind = rest.partition(":")
    return f"{learner} ← {teacher}: {kind}" if kind else name.removeprefix("loss/")

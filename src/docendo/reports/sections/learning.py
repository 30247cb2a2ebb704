"""How networks learned."""

from __future__ import annotations

from dataclasses import replace

from docendo.reports.figures.curves import all_curves, curves, shared_limits
from docendo.reports.figures.losses import losses
from docendo.reports.sections.parts import (
    Drawing,
    Part,
    Section,
    Shown,
    best_first,
    compared,
    drawn,
    groups,
    is_one_run,
)

MANY = 8
"""Of more methods than this, losses are folded away."""


def learned(shown: Shown) -> Section:
    """Show accuracies, epoch by epoch."""
    if is_one_run(shown):
        return _alone(shown)
    parts = []
    for group, standing, heading in groups(shown):
        limits = shared_limits(group)
        draw = [(c, curves(c, group.baseline, shown.styles[c.label], limits), "") for c in compared(group, standing)]
        parts += drawn("curves", heading, draw)
    baseline = shown.record.groups[0].baseline
    grey = f" Grey: {baseline.label}." if baseline is not None and len(shown.record.cells) > 1 else ""
    lead = (
        "Validation accuracy after each epoch of the phase in which the network to deploy learns last. "
        f"Line: mean over seeds; band: one standard deviation.{grey}"
    )
    return Section("curves", "How they learned", lead, tuple(parts))


def _alone(shown: Shown) -> Section:
    cell = shown.record.cells[0]
    figure = all_curves(cell.first)
    parts = () if figure is None else (Part(drawings=(Drawing("curves", cell.label, figure),), width="whole"),)
    lead = "Validation accuracy after each epoch of the last phase, of all that was measured in it."
    return Section("curves", "How it learned", lead, parts)


def minimised(shown: Shown) -> Section:
    """Show loss terms, epoch by epoch."""
    parts = []
    for _, standing, heading in groups(shown):
        folded = f"The losses of {len(standing)} methods" if len(standing) > MANY else ""
        made = drawn("losses", heading, [(cell, losses(cell), "") for cell in best_first(standing)])
        parts += [replace(part, folded=folded) for part in made]
    means = "" if is_one_run(shown) else "; means over seeds"
    lead = (
        f"Loss terms of that phase, before they are weighted, and in grey the weighted sum that is minimised{means}. "
        "“student ← teacher: kd” is what the student learns from the teacher by the loss kd."
    )
    title = "What it minimised" if is_one_run(shown) else "What they minimised"
    return Section("losses", title, lead, tuple(parts))

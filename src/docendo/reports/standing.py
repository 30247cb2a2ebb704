"""How methods stand to each other: the numbers of a report's tables."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from docendo.reports.record import Cell, Group
from docendo.studies import Comparison, Summary, Verdict, compare_all, judge, summarize


@dataclass(frozen=True)
class Standing:
    """What is known of one cell.

    Attributes:
        cell: whose.
        top1: test top-1 of the deployed network at the last epoch, in percent.
        comparison: with the baseline; None for the baseline itself, and where there is none.
        verdict: what that means.
    """

    cell: Cell
    top1: Summary
    comparison: Comparison | None = None
    verdict: Verdict | None = None

    def mean(self, key: str, *, percent: bool = True) -> float | None:
        """Give the mean over seeds of what the results say of the deployed network; None where one says nothing."""
        return _mean([run.about.get(key) for run in self.cell.runs.values()], 100 if percent else 1)

    @property
    def seconds(self) -> float:
        """The mean time of a run's training."""
        return statistics.fmean(run.results["seconds"] for run in self.cell.runs.values())

    def measure(self, *path: str) -> float | None:
        """Give the mean of what was measured, by the keys that lead to it, over seeds that have it; None of none."""
        measured = [value for found in self.cell.measured() if (value := _at(found, path)) is not None]
        return statistics.fmean(measured) if measured else None


def standings(group: Group) -> list[Standing]:
    """Summarise the cells of a group and compare them with its baseline, the best first."""
    values = {cell.label: {seed: run.top1 for seed, run in cell.runs.items()} for cell in group.cells}
    step = 100 / group.tested()
    compared: dict[str, Comparison] = {}
    if group.baseline is not None:
        methods = {cell.label: values[cell.label] for cell in group.cells if cell is not group.baseline}
        compared = compare_all(methods, values[group.baseline.label], resolution=step)
    found = []
    for cell in group.cells:
        summary, comparison = summarize(values[cell.label], resolution=step), compared.get(cell.label)
        found.append(Standing(cell, summary, comparison, judge(comparison) if comparison else None))
    return sorted(found, key=lambda standing: -standing.top1.mean)


def places(group: Group) -> int:
    """Give the decimal places of accuracies in percent: 2, or 1 where an image of the test split counts 0.1 or more."""
    return 1 if 100 / group.tested() >= 0.1 else 2


def _at(found: Any, path: Sequence[str]) -> Any:
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def _mean(values: Sequence[float | None], factor: float) -> float | None:
    known = [value for value in values if value is not None]
    return factor * statistics.fmean(known) if len(known) == len(values) else None

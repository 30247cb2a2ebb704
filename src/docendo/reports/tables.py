"""The tables of a report, as words that every format writes."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from docendo.numbers import MINUS, amount, difference, duration, spread
from docendo.reports.architecture import architecture_of, is_weights
from docendo.reports.finished import points
from docendo.reports.record import Cell, Group, Record
from docendo.reports.standing import Standing, places


class Row(NamedTuple):
    """A row.

    Attributes:
        label: whose: a cell's label, or a name.
        cells: what stands in the further columns; empty where nothing is known.
        outcome: of the verdict, if there is one: "helps", "hurts", "unseen", "untested"; "baseline" for that.
    """

    label: str
    cells: tuple[str, ...]
    outcome: str = ""


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        name: of its file.
        headings: of the label's column and of the others.
        rows: one or more.
    """

    name: str
    headings: tuple[str, ...]
    rows: tuple[Row, ...]


def results_table(group: Group, standing: Sequence[Standing]) -> Table:
    """Give accuracies, and how they differ from the baseline's."""
    digits = places(group)
    headings: tuple[str, ...] = ("Method", "Seeds", "Test top-1, %")
    if group.baseline is not None and len(standing) > 1:
        headings += (f"Beside {group.baseline.label}, points", "Verdict")
    rows = []
    for one in standing:
        cells: tuple[str, ...] = (str(one.top1.seeds), spread(one.top1.mean, one.top1.std, digits))
        if len(headings) > 3:
            cells += (_difference(one, digits), one.verdict.text if one.verdict else "what others are compared with")
        outcome = one.verdict.outcome if one.verdict else "baseline" if len(headings) > 3 else ""
        rows.append(Row(one.cell.label, cells, outcome))
    return Table("results", headings, tuple(rows))


def _difference(one: Standing, digits: int) -> str:
    c = one.comparison
    return "" if c is None else difference(c.difference, c.margin, digits).replace("-", MINUS)


def networks_table(record: Record, group: Group) -> Table:
    """Give the networks of a single run, the one to deploy first."""
    run, digits = group.cells[0].first, places(group)
    rows = [
        Row(
            role,
            (
                architecture_of(run, role, record.teachers),
                _number(100 * about["test_top1"], digits),
                _number(100 * about["test_top5"], digits),
                _number(_times(100, about["val_top1"]), digits),
                f"{about['parameters']:,}",
            ),
        )
        for role, about in sorted(run.results["networks"].items(), key=lambda each: each[0] != run.deployed)
    ]
    headings = ("Role", "Network", "Test top-1, %", "Test top-5, %", "Validation top-1, %", "Parameters")
    return Table("results", headings, tuple(rows))


def measures_table(group: Group, standing: Sequence[Standing]) -> Table | None:
    """Give what else is known of the deployed networks, means over seeds; None if nothing is."""
    goal = _goal(group)
    columns: dict[str, Callable[[Standing], str]] = {
        "Validation top-1, %": lambda one: _number(one.mean("val_top1"), 2),
        "Best epoch's, %": lambda one: _number(one.mean("best_val_top1"), 2),
        "Best test epoch's, %": lambda one: _number(one.mean("best_test_top1"), 2),
        "Test top-5, %": lambda one: _number(one.mean("test_top5"), 2),
        "NLL": lambda one: _number(one.measure("negative_log_likelihood"), 3),
        "ECE, %": lambda one: _number(_times(100, one.measure("calibration_error")), 1),
        "Agrees with teacher, %": lambda one: _number(_times(100, one.measure("teacher", "agreement")), 1),
        "KL from teacher": lambda one: _number(one.measure("teacher", "divergence"), 3),
        "Top score difference": lambda one: _number(one.measure("tolerance", "difference"), 3),
        "Spoiled images, %": lambda one: _number(_times(100, one.measure("corruption", "mean")), 1),
    }
    if goal is not None:
        columns[f"Epochs to {goal:.1f}%"] = lambda one: epochs_to(one.cell, goal)
    return _table("measures", columns, standing)


def cost_table(standing: Sequence[Standing]) -> Table | None:
    """Give what the networks cost to train and to use."""
    columns: dict[str, Callable[[Standing], str]] = {
        "Network": lambda one: one.cell.network,
        "Parameters": lambda one: f"{one.cell.first.about['parameters']:,}",
        "Multiply-adds an image": lambda one: amount(one.cell.first.about["macs"]),
        "Training of a run": lambda one: duration(one.seconds),
        "An image alone, ms": lambda one: _number(one.measure("latency", "median"), 2),
    }
    return _table("cost", columns, standing)


def others_table(record: Record, group: Group, standing: Sequence[Standing]) -> Table | None:
    """Give the networks that runs left besides those to deploy, and the ensembles; not those that were given to them.

    Returns:
        The table; None if there are none.
    """
    rows = []
    for cell in (one.cell for one in standing):
        given = cell.first.config.get("networks", {})
        roles = [role for role in cell.first.results["networks"] if role != cell.first.deployed]
        for role in roles:
            if not is_weights(given.get(role, "")):
                architecture = architecture_of(cell.first, role, record.teachers)
                rows.append(Row(cell.label, (role, architecture, _over_seeds(cell, "networks", role, group))))
        for name in cell.first.results.get("ensembles", {}):
            rows.append(Row(cell.label, (name, "ensemble", _over_seeds(cell, "ensembles", name, group))))
    for run in record.teachers:
        top1 = f"{run.top1:.{places(group)}f}"
        rows.append(Row(run.folder.name, (run.deployed, architecture_of(run, run.deployed, record.teachers), top1)))
    return Table("others", ("From", "Role", "Network", "Test top-1, %"), tuple(rows)) if rows else None


def _over_seeds(cell: Cell, kind: str, name: str, group: Group) -> str:
    known = [run.results.get(kind, {}).get(name) for run in cell.runs.values()]
    values = [100 * about["test_top1"] for about in known if about is not None]
    return spread(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None, places(group))


def confusions_table(cell: Cell) -> Table | None:
    """Give the classes that the deployed network of a cell's first measured run takes for each other most often."""
    run = cell.seen
    measured, names = (run.measured(), (run.measures or {}).get("classes", ())) if run else (None, ())
    if measured is None or not measured["confused_pairs"]:
        return None
    rows = [
        Row(
            f"{names[pair['first']]} and {names[pair['second']]}",
            (f"{pair['first_as_second']}", f"{pair['second_as_first']}"),
        )
        for pair in measured["confused_pairs"][:6]
    ]
    return Table("confusions", ("Classes", "First taken for second", "Second taken for first"), tuple(rows))


def _table(name: str, columns: dict[str, Callable[[Standing], str]], standing: Sequence[Standing]) -> Table | None:
    """Put columns together, without those that are empty."""
    values = {heading: [of(one) for one in standing] for heading, of in columns.items()}
    kept = {heading: column for heading, column in values.items() if any(column)}
    if not kept:
        return None
    rows = zip(*kept.values(), strict=True)
    return Table(
        name,
        ("Method", *kept),
        tuple(Row(one.cell.label, tuple(row)) for one, row in zip(standing, rows, strict=True)),
    )


def _goal(group: Group) -> float | None:
    """Give the validation accuracy that the baseline ends with, in percent."""
    if group.baseline is None or len(group.cells) < 2:
        return None
    ends = [curve[-1][1] for run in group.baseline.runs.values() if (curve := run.curve())]
    return statistics.fmean(ends) if ends else None


def epochs_to(cell: Cell, accuracy: float) -> str:
    """Give after how many epochs of its last phase a cell first reaches a validation accuracy, in the mean of seeds."""
    mean = {epoch: statistics.fmean(ys) for epoch, ys in points(run.curve() for run in cell.runs.values()).items()}
    return str(next((epoch for epoch, y in mean.items() if y >= accuracy), "not reached")) if mean else ""


def _times(factor: float, value: float | None) -> float | None:
    return None if value is None else factor * value


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"

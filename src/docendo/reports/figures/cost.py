"""What accuracy costs: to train, and to use."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import plotly.graph_objects as go

from docendo.reports.architecture import architecture_of
from docendo.reports.figures.labels import placed
from docendo.reports.figures.theme import GREY, Style, figure, text
from docendo.reports.record import Group, Record
from docendo.reports.standing import Standing

HEIGHT = 380


class Spot(NamedTuple):
    """A network in a figure.

    Attributes:
        name: for who points at it.
        price: what it costs.
        accuracies: test top-1 in percent, one a seed.
        colour: of its mark.
        symbol: of its mark.
        label: what stands beside it; empty for nothing.
    """

    name: str
    price: float
    accuracies: tuple[float, ...]
    colour: str
    symbol: str = "circle"
    label: str = ""


def training_cost(group: Group, standing: Sequence[Standing], styles: Mapping[str, Style]) -> go.Figure | None:
    """Draw test accuracy against the time of training; names stand at the baseline and where no other is better.

    Args:
        group: what was compared.
        standing: of its cells, the best first.
        styles: of cells, by label.

    Returns:
        The figure; None for a single cell.
    """
    if len(standing) < 2:
        return None
    named = best_for_their_price({one.cell.label: (one.seconds, one.top1.mean) for one in standing})
    named |= {group.baseline.label} if group.baseline else set()
    spots = [
        Spot(
            one.cell.label,
            one.seconds,
            tuple(run.top1 for run in one.cell.runs.values()),
            styles[one.cell.label].colour,
            label=one.cell.label if one.cell.label in named else "",
        )
        for one in standing
    ]
    made = _figure(spots, " s")
    made.update_xaxes(title="seconds of training, a run")
    return made


def use_cost(record: Record, group: Group, styles: Mapping[str, Style]) -> go.Figure | None:
    """Draw test accuracy against the arithmetic for one image, of all networks that the runs of a group left.

    Args:
        record: where teachers may be.
        group: whose runs.
        styles: of cells, by label.

    Returns:
        The figure; None where all networks cost the same.
    """
    spots = list(_networks(record, group, styles))
    if len({spot.price for spot in spots}) < 2:
        return None
    made = _figure(spots, " multiply-adds")
    made.update_xaxes(title="multiply-adds for an image")
    return made


def _networks(record: Record, group: Group, styles: Mapping[str, Style]) -> Iterator[Spot]:
    """Give the networks to deploy, then the others; of those that are the same to the last image, one."""
    seen: set[tuple[float, ...]] = set()
    named: set[str] = set()
    for own in (True, False):
        for cell in group.cells:
            for role, about in cell.first.results["networks"].items():
                runs = [run for run in cell.runs.values() if role in run.results["networks"]]
                accuracies = tuple(100 * float(run.network(role)["test_top1"]) for run in runs)
                if (role == cell.first.deployed) != own or (not own and accuracies in seen):
                    continue
                seen.add(accuracies)
                architecture = architecture_of(cell.first, role, record.teachers)
                colour, symbol = (styles[cell.label].colour, "circle") if own else (GREY, "diamond-open")
                name = cell.label if own else f"{role} of {cell.label}, {architecture}"
                label = "" if own or architecture in named | {group.network} else architecture
                named.add(architecture)
                yield Spot(name, float(about["macs"]), accuracies, colour, symbol, label)


def best_for_their_price(spots: Mapping[str, tuple[float, float]]) -> set[str]:
    """Give the names that no other beats in both price and accuracy.

    >>> sorted(best_for_their_price({"a": (1, 5), "b": (2, 4), "c": (3, 9)}))
    ['a', 'c']
    """
    return {
        name
        for name, (price, good) in spots.items()
        if not any(p <= price and g >= good and (p, g) != (price, good) for p, g in spots.values())
    }


def _figure(spots: Sequence[Spot], unit: str) -> go.Figure:
    prices = [spot.price for spot in spots]
    wide = min(prices) > 0 and max(prices) > 10 * min(prices)
    across = [math.log(price / min(prices)) if wide else price for price in prices]
    means = [statistics.fmean(spot.accuracies) for spot in spots]
    up = [mean - min(means) for mean in means]
    places = {
        spot.name: (x / (max(across) or 1), y / (max(up) or 1)) for spot, x, y in zip(spots, across, up, strict=True)
    }
    sides = placed(places, {spot.name: spot.label for spot in spots if spot.label})
    traces = []
    for spot in spots:
        spread = statistics.stdev(spot.accuracies) if len(spot.accuracies) > 1 else 0
        traces.append(
            go.Scatter(
                x=[spot.price],
                y=[statistics.fmean(spot.accuracies)],
                error_y={"type": "data", "array": [spread], "color": spot.colour, "thickness": 1.5, "width": 0},
                mode="markers+text" if spot.name in sides else "markers",
                text=[f"\u2002{text(spot.label)}\u2002"],
                textposition=sides.get(spot.name, "middle right"),
                cliponaxis=False,
                marker={"color": spot.colour, "size": 11, "symbol": spot.symbol},
                hovertemplate=f"{text(spot.name)}: %{{y:.2f}}%, %{{x:.3s}}{unit}<extra></extra>",
            )
        )
    made = figure(traces, height=HEIGHT)
    scale: dict[str, Any] = {"type": "log", "dtick": "D2"} if wide else {"rangemode": "tozero"}
    made.update_xaxes(tickformat="~s", **scale)
    made.update_yaxes(title="test top-1", ticksuffix="%")
    return made

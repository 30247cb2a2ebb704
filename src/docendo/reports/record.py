"""What lies in a folder of runs: methods with their seeds, and the teachers that they share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import lcm
from pathlib import Path
from typing import Any, NamedTuple

from docendo.reports.finished import Finished


@dataclass(frozen=True)
class Cell:
    """One method with its settings, networks and data, over seeds.

    Attributes:
        label: what it is called here.
        runs: the finished ones by seed, one or more.
        network: the architecture of the deployed network.
    """

    label: str
    runs: Mapping[int, Finished]
    network: str

    @property
    def first(self) -> Finished:
        """The run of the smallest seed."""
        return self.runs[min(self.runs)]

    @property
    def seen(self) -> Finished | None:
        """The run of the smallest seed that was measured."""
        return next((self.runs[seed] for seed in sorted(self.runs) if self.runs[seed].measured() is not None), None)

    def measured(self) -> list[Mapping[str, Any]]:
        """Give what was measured of the network to deploy, for each run where anything was."""
        return [found for run in self.runs.values() if (found := run.measured()) is not None]


@dataclass(frozen=True)
class Group:
    """What can be compared: cells that share a baseline, or a data set and the architecture to deploy.

    Attributes:
        name: what it is called where there are several.
        cells: one or more.
        baseline: the one that others are compared with; None if there is none here.
        images: of the test split, as far as they were counted.
    """

    name: str
    cells: tuple[Cell, ...]
    baseline: Cell | None
    images: int | None = None

    @property
    def data(self) -> str:
        """The data set's name."""
        return self.cells[0].first.data

    @property
    def network(self) -> str:
        """The architecture to deploy."""
        return self.cells[0].network

    def tested(self) -> int:
        """Count the test images, or give the least number of them that all accuracies can be fractions of."""
        runs = [run for cell in self.cells for run in cell.runs.values()]
        measured = [run.tested() for run in runs if run.measured() is not None]
        return self.images or (max(measured) if measured else lcm(*(run.tested() for run in runs)))


class Failure(NamedTuple):
    """A run that failed.

    Attributes:
        label: of its cell.
        seed: its seed.
        why: what was wrong.
    """

    label: str
    seed: int
    why: str


@dataclass(frozen=True)
class Record:
    """A run, or several.

    Attributes:
        folder: what was read.
        groups: the largest first.
        teachers: runs that others took a network from.
        command: what made all of it, if one command did.
        failures: runs that failed.
    """

    folder: Path
    groups: tuple[Group, ...]
    teachers: tuple[Finished, ...] = ()
    command: str | None = None
    failures: tuple[Failure, ...] = ()

    @property
    def cells(self) -> tuple[Cell, ...]:
        """All cells."""
        return tuple(cell for group in self.groups for cell in group.cells)

    @property
    def runs(self) -> tuple[Finished, ...]:
        """All runs but the teachers'."""
        return tuple(run for cell in self.cells for run in cell.runs.values())

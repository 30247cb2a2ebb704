"""What lies in a folder of runs: methods with their seeds, and the teachers that they share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import lcm
from pathlib import Path
from typing import Any

from docendo.errors import DocendoError, nearest
from docendo.reports.architecture import architecture_of, is_weights
from docendo.reports.finished import Finished, read_finished, read_json


@dataclass(frozen=True)
class Cell:
    """One method with its settings, networks and data, over seeds.

    Attributes:
        label: what it is called here.
        runs: the finished ones by seed, one or more.
        network: the architecture of the deployed network.
        failed: what went wrong, by seed.
    """

    label: str
    runs: Mapping[int, Finished]
    network: str
    failed: Mapping[int, str] = field(default_factory=dict)

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
    """What can be compared: cells whose deployed network is of one architecture, trained for one data set.

    Attributes:
        data: the data set's name.
        network: the architecture.
        cells: one or more.
        baseline: the one that others are compared with; None if there is none here.
    """

    data: str
    network: str
    cells: tuple[Cell, ...]
    baseline: Cell | None

    def tested(self) -> int:
        """Count the test images, or give the least number of them that all accuracies can be fractions of."""
        runs = [run for cell in self.cells for run in cell.runs.values()]
        measured = [run.tested() for run in runs if run.measured() is not None]
        return max(measured) if measured else lcm(*(run.tested() for run in runs))


@dataclass(frozen=True)
class Record:
    """A run, or several.

    Attributes:
        folder: what was read.
        groups: the largest first.
        teachers: runs that others took a network from.
        command: what made all of it, if one command did.
    """

    folder: Path
    groups: tuple[Group, ...]
    teachers: tuple[Finished, ...] = ()
    command: str | None = None

    @property
    def cells(self) -> tuple[Cell, ...]:
        """All cells."""
        return tuple(cell for group in self.groups for cell in group.cells)

    @property
    def runs(self) -> tuple[Finished, ...]:
        """All runs but the teachers'."""
        return tuple(run for cell in self.cells for run in cell.runs.values())


def read_record(path: str | Path, baseline: str | None = None) -> Record:
    """Read a run folder, the folder of a study, or any folder of run folders named LABEL-SEED.

    Args:
        path: the folder.
        baseline: the label of what others are compared with; by default the study's, or plain training.

    Raises:
        DocendoError: nothing is finished there, a file cannot be read, or there is no such baseline.
    """
    path = Path(path)
    command = None
    teachers: list[Finished] = []
    like: Mapping[str, Any] | None = None
    if (path / "results.json").is_file():
        runs = [read_finished(path)]
        labelled = {runs[0].method: runs}
        failed: dict[str, dict[int, str]] = {}
    elif (path / "index.json").is_file():
        index = read_json(path / "index.json")
        labelled, failed = _of_study(path, index)
        teachers = [read_finished(path / folder) for folder in index.get("teachers", ()) if _done(path / folder)]
        command = index.get("command")
        like = next((cell for cell in index["cells"] if cell["label"] == index.get("baseline")), None)
    else:
        labelled, teachers, failed = *_of_folders(path), {}
    if not labelled:
        raise DocendoError(_nothing(path))
    if baseline is not None and baseline not in labelled:
        raise DocendoError(f'{path} has no "{baseline}" to compare with; {nearest(baseline, labelled)}')
    cells = [_cell(label, runs, teachers, failed.get(label, {})) for label, runs in labelled.items()]
    return Record(path, _groups(cells, baseline, like), tuple(teachers), command)


def _done(folder: Path) -> bool:
    return (folder / "results.json").is_file()


def _nothing(path: Path) -> str:
    if not path.is_dir():
        return f"{path} is no folder: give that of a run or of a study"
    if (path / "config.yaml").is_file():
        return f"{path} is a run that has not finished: go on with it by --resume first"
    return f"{path} holds no finished run: a run's folder has a results.json, and several are named LABEL-SEED"


def _of_study(path: Path, index: Mapping[str, Any]) -> tuple[dict[str, list[Finished]], dict[str, dict[int, str]]]:
    """Give what a study's index lists: the finished runs, and the messages of those that failed."""
    labelled = {
        cell["label"]: [read_finished(path / folder) for folder in cell["seeds"].values() if _done(path / folder)]
        for cell in index["cells"]
    }
    failed = {
        cell["label"]: {int(seed): str(text) for seed, text in cell.get("failed", {}).items()}
        for cell in index["cells"]
    }
    return {label: runs for label, runs in labelled.items() if runs}, failed


def _of_folders(path: Path) -> tuple[dict[str, list[Finished]], list[Finished]]:
    """Sort runs by what stands before the seed in their folders' names; those that others learn from stand apart."""
    runs = {
        folder.name: (match[1], read_finished(folder))
        for folder in sorted(path.iterdir() if path.is_dir() else ())
        if _done(folder) and (match := re.fullmatch(r"(.+?)-(?:seed)?\d+", folder.name))
    }
    files = {Path(name) for _, run in runs.values() for name in _files(run)}
    came_out = {(name, role) for name, (_, run) in runs.items() for role in run.results["networks"]}
    used = {file.parent.name for file in files if (file.parent.name, file.stem) in came_out}
    labelled: dict[str, list[Finished]] = {}
    for name, (label, run) in runs.items():
        if name not in used:
            labelled.setdefault(label, []).append(run)
    return labelled, [runs[name][1] for name in sorted(used)]


def _files(run: Finished) -> Iterable[str]:
    return (name for name in run.config.get("networks", {}).values() if is_weights(name))


def _cell(label: str, runs: Iterable[Finished], teachers: Iterable[Finished], failed: Mapping[int, str]) -> Cell:
    by_seed = {run.seed: run for run in runs}
    first = by_seed[min(by_seed)]
    return Cell(label, by_seed, architecture_of(first, first.deployed, teachers), failed)


def _groups(cells: Iterable[Cell], baseline: str | None, like: Mapping[str, Any] | None) -> tuple[Group, ...]:
    together: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        together.setdefault((cell.first.data, cell.network), []).append(cell)
    groups = [
        Group(data, network, tuple(some), _baseline(some, baseline, like)) for (data, network), some in together.items()
    ]
    return tuple(sorted(groups, key=lambda group: -len(group.cells)))


def _baseline(cells: list[Cell], label: str | None, like: Mapping[str, Any] | None) -> Cell | None:
    """Find what the others are compared with: the cell of that label, else one of the same method and settings."""
    like = like or {"method": "plain", "settings": {}}
    named = label or like.get("label")
    asked = like["settings"].items()
    alike = [c for c in cells if c.first.method == like["method"] and asked <= c.first.config["settings"].items()]
    return next((cell for cell in cells if cell.label == named), alike[0] if alike else None)

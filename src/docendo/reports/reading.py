"""Reads folders of runs and studies."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from docendo.errors import DocendoError, nearest
from docendo.files import read_json
from docendo.reports.architecture import architecture_of, is_weights
from docendo.reports.finished import Finished, read_finished
from docendo.reports.record import Cell, Failure, Group, Record

Labelled = dict[str, list[Finished]]
"""Runs by the label of their cell."""


class _Study(NamedTuple):
    """What a study's index says.

    Attributes:
        baseline: the label of its baseline.
        entries: what it says of each cell, by label.
        command: what made it.
    """

    baseline: str | None = None
    entries: Mapping[str, Mapping[str, Any]] = {}
    command: str | None = None


def read_record(path: str | Path, baseline: str | None = None) -> Record:
    """Read a run folder, the folder of a study, or any folder of run folders named LABEL-SEED.

    Args:
        path: the folder.
        baseline: the label of what others are compared with; by default the study's, or plain training.

    Raises:
        DocendoError: nothing is finished there, a file cannot be read, or there is no such baseline.
    """
    path, study = Path(path), _Study()
    labelled: Labelled
    teachers: list[Finished] = []
    if _done(path):
        run = read_finished(path)
        labelled = {run.method: [run]}
    elif (path / "index.json").is_file():
        index = read_json(path / "index.json")
        study = _Study(index.get("baseline"), {cell["label"]: cell for cell in index["cells"]}, index.get("command"))
        labelled = _of_study(path, study)
        teachers = [read_finished(path / folder) for folder in index.get("teachers", ()) if _done(path / folder)]
    else:
        labelled, teachers = _of_folders(path)
    if not labelled:
        raise DocendoError(_nothing(path))
    if baseline is not None and baseline not in labelled:
        raise DocendoError(f'{path} has no "{baseline}" to compare with; {nearest(baseline, labelled)}')
    cells = [_cell(label, runs, teachers) for label, runs in labelled.items()]
    failures = (
        Failure(label, int(seed), str(why))
        for label, entry in study.entries.items()
        for seed, why in entry.get("failed", {}).items()
    )
    return Record(path, _groups(cells, baseline, study), tuple(teachers), study.command, tuple(failures))


def _done(folder: Path) -> bool:
    return (folder / "results.json").is_file()


def _nothing(path: Path) -> str:
    if not path.is_dir():
        return f"{path} is no folder: give that of a run or of a study"
    if (path / "config.yaml").is_file():
        return f"{path} is a run that has not finished: go on with it by --resume first"
    return f"{path} holds no finished run: a run's folder has a results.json, and several are named LABEL-SEED"


def _of_study(path: Path, study: _Study) -> Labelled:
    """Read the finished runs that a study's index lists."""
    labelled = {
        label: [read_finished(path / folder) for folder in entry["seeds"].values() if _done(path / folder)]
        for label, entry in study.entries.items()
    }
    return {label: runs for label, runs in labelled.items() if runs}


def _of_folders(path: Path) -> tuple[Labelled, list[Finished]]:
    """Sort runs by what stands before the seed in their folders' names; those that others learn from stand apart."""
    runs = {
        folder.name: _labelled(match[1], read_finished(folder))
        for folder in sorted(path.iterdir() if path.is_dir() else ())
        if _done(folder) and (match := re.fullmatch(r"(.+?)-(?:seed)?\d+", folder.name))
    }
    files = {Path(name) for _, run in runs.values() for name in _files(run)}
    came_out = {(name, role) for name, (_, run) in runs.items() for role in run.results["networks"]}
    used = {file.parent.name for file in files if (file.parent.name, file.stem) in came_out}
    labelled: Labelled = {}
    for name, (label, run) in runs.items():
        if name not in used:
            labelled.setdefault(label, []).append(run)
    return labelled, [runs[name][1] for name in sorted(used)]


def _labelled(label: str, run: Finished) -> tuple[str, Finished]:
    """Give a run with its label: its method, where folders are named after their seeds alone."""
    return (run.method if label == "seed" else label), run


def _files(run: Finished) -> Iterable[str]:
    return (name for name in run.config.get("networks", {}).values() if is_weights(name))


def _cell(label: str, runs: Iterable[Finished], teachers: Iterable[Finished]) -> Cell:
    by_seed = {run.seed: run for run in runs}
    first = by_seed[min(by_seed)]
    return Cell(label, by_seed, architecture_of(first, first.deployed, teachers))


def _groups(cells: Iterable[Cell], baseline: str | None, study: _Study) -> tuple[Group, ...]:
    """Put together what can be compared, the largest group first."""
    together: dict[Any, list[Cell]] = {}
    for cell in cells:
        entry = study.entries.get(cell.label, {})
        by_index = baseline is None and "baseline" in entry
        key = (entry["baseline"] or cell.label) if by_index else (cell.first.data, cell.network)
        together.setdefault(key, []).append(cell)
    groups = []
    for key, some in together.items():
        images = max((study.entries.get(cell.label, {}).get("test_images", 0) for cell in some), default=0)
        named = key if isinstance(key, str) else baseline or study.baseline
        found = _baseline(some, named)
        groups.append(Group(f"{some[0].first.data}, {some[0].network}", tuple(some), found, images or None))
    names = Counter(group.name for group in groups)
    told = (
        replace(group, name=f"{group.name}, beside {group.baseline.label}")
        if names[group.name] > 1 and group.baseline is not None
        else group
        for group in groups
    )
    return tuple(sorted(told, key=lambda group: -len(group.cells)))


def _baseline(cells: Iterable[Cell], label: str | None) -> Cell | None:
    """Find what the others are compared with: the cell of that label, else plain training."""
    cells = list(cells)
    named = next((cell for cell in cells if cell.label == label), None)
    return named or next((cell for cell in cells if cell.first.method == "plain"), None)

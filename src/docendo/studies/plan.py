"""From a definition to the runs that it asks for: what is shared, what needs what, and how each is called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import docendo.data
from docendo.data import DataSet, DataSettings
from docendo.errors import DocendoError, nearest
from docendo.studies.definition import MethodChoice, StudySettings
from docendo.studies.grid import Point, choices_of, groups_of
from docendo.studies.job import Job
from docendo.studies.labels import fit_for_a_folder, labels
from docendo.studies.teachers import Teachers


@dataclass(frozen=True)
class Cell:
    """One cell of the grid: all that its seeds have in common.

    Attributes:
        label: its name.
        point: what it is.
        baseline: the label of the cell that it is compared with; None if it is that itself.
        runs: the names of its runs by seed.
    """

    label: str
    point: Point
    baseline: str | None
    runs: Mapping[int, str]


@dataclass(frozen=True)
class Plan:
    """All runs of a study.

    Attributes:
        asked: what was asked for.
        definition: the same with labels, networks and epochs filled in as far as they are the same for all.
        baseline: the label of the cell that others are compared with; of the first, where there are several.
        cells: what is compared.
        jobs: the runs, each after those that it needs; seed after seed, so that methods can be compared early.
    """

    asked: StudySettings
    definition: StudySettings
    baseline: str
    cells: tuple[Cell, ...]
    jobs: tuple[Job, ...]


def make_plan(definition: StudySettings, folder: Path) -> Plan:
    """Plan a study; trains and writes nothing.

    Args:
        definition: what is asked for.
        folder: the study's.

    Raises:
        DocendoError: methods, settings, networks or images that do not exist or do not fit.
    """
    loaded: dict[DataSettings, DataSet] = {}

    def images_of(settings: DataSettings) -> DataSet:
        if settings not in loaded:
            loaded[settings] = docendo.data.load(settings)
        return loaded[settings]

    choices = choices_of(definition.methods)
    first = choices.index(_baseline(definition, choices))
    groups = list(groups_of(definition, choices, images_of))
    points: dict[str, Point] = {}
    baselines: dict[str, str] = {}  # what networks do not touch is the same point in several groups
    for group in groups:
        for point in group:
            points.setdefault(point.key, point)
            baselines.setdefault(point.key, group[first].key)
    bases, told = [str(p.choice.label) for p in points.values()], [p.told for p in points.values()]
    named = dict(zip(points, labels(bases, told), strict=True))

    teachers = Teachers({named[key]: point for key, point in points.items()}, definition.teacher_seed, folder)
    jobs: dict[str, Job] = {}
    runs: dict[str, dict[int, str]] = {key: {} for key in points}
    for seed in definition.seeds:
        for key, point in points.items():
            wanted = teachers.jobs(named[key], point, seed)
            jobs |= {job.name: job for job in wanted}
            runs[key][seed] = wanted[-1].name
    cells = tuple(
        Cell(label, points[key], named[baselines[key]] if baselines[key] != key else None, runs[key])
        for key, label in named.items()
    )
    filled_in = _filled_in(definition, choices, groups)
    return Plan(definition, filled_in, named[groups[0][first].key], cells, tuple(jobs.values()))


def _baseline(definition: StudySettings, choices: tuple[MethodChoice, ...]) -> MethodChoice:
    wanted = definition.baseline
    if wanted is None:
        return next((one for one in choices if one.method == "plain"), choices[0])
    for one in choices:
        if wanted in (one.method, one.label) or fit_for_a_folder(wanted) == one.label:
            return one
    known = [str(one.label) for one in choices]
    raise DocendoError(f'the baseline "{wanted}" is not among the methods; {nearest(wanted, known)}')


def _filled_in(
    definition: StudySettings, choices: tuple[MethodChoice, ...], groups: list[tuple[Point, ...]]
) -> StudySettings:
    """Write down labels, networks and epochs, so that a later docendo with other defaults does the same."""
    update: dict[str, object] = {"methods": choices}
    if len(definition.data) == 1:
        every = len(groups) // len(definition.networks)
        together = [{r: n for p in group for r, n in p.settings.networks.items()} for group in groups[::every]]
        networks = zip(together, definition.networks, strict=True)
        update["networks"] = tuple({**found, **asked} for found, asked in networks)
        epochs = {point.settings.epochs for group in groups for point in group}
        if len(epochs) == 1 and "epochs" not in definition.vary:
            update["run"] = {**definition.run, "epochs": epochs.pop()}
    return definition.model_copy(update=update)

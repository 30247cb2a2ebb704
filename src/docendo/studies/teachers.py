"""What is trained once and shared: ordinary teachers, and those that SFTN makes friendly to a student."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from docendo.methods import name_of, values_of
from docendo.studies.friendly import FRIENDLY
from docendo.studies.grid import Point, has_published
from docendo.studies.job import Job
from docendo.studies.labels import labels, network_word


class Teachers:
    """The teachers of a study, and the runs that use them.

    A frozen teacher is trained by a run of its own, with the settings of the runs that it serves. Seeds that share one
    differ in their student alone, so that a comparison is about the student's training. Where each seed has its own
    teacher, all methods that take an ordinary one share that, and SFTN makes its own in its own run.

    Args:
        named: all points of the study by label.
        seed: the teachers' seed, or "each".
        folder: the study's.
    """

    def __init__(self, named: Mapping[str, Point], seed: int | Literal["each"], folder: Path) -> None:
        self._seed, self._folder = seed, folder
        self._friendly: dict[str, str] = {}
        wanted: dict[str, tuple[str, dict[str, str]]] = {}
        for label, point in named.items():
            for role in point.phases.teachers:
                network = point.settings.networks[role]
                words = {kind: word for kind, word in point.told.items() if kind not in point.settings.networks}
                wanted.setdefault(_key(network, point), ("teacher", {"network": network_word(network), **words}))
            if point.phases.friendly:
                self._friendly.setdefault(_friendly_key(point), f"{label}-teacher")
        made = labels([base for base, _ in wanted.values()], [words for _, words in wanted.values()])
        self._ordinary = dict(zip(wanted, made, strict=True))

    def jobs(self, label: str, point: Point, seed: int) -> list[Job]:
        """Give the run of a point for a seed, the last one, and before it those whose weights it needs."""
        teacher_seed = seed if self._seed == "each" else self._seed
        networks, phases = dict(point.settings.networks), point.phases
        before = []
        for role in phases.teachers:
            job = self._teacher(point, networks[role], teacher_seed)
            networks[role] = self._file(job)
            before.append(job)
        needs = tuple(job.name for job in before)
        method, own, epochs = point.choice.method, point.choice.settings, phases.of_friendly + phases.of_rest
        if phases.friendly and self._seed != "each":
            settings = {**_friendly_settings(point), **point.run}
            made = self._friendly[_friendly_key(point)]
            name = _name("teachers", made, teacher_seed)
            friendly = Job(name, made, FRIENDLY, networks, settings, teacher_seed, phases.of_friendly, needs)
            before.append(friendly)
            networks, needs = {**networks, "teacher": self._file(friendly)}, (name,)
            method, own, epochs = name_of(point.method.then), values_of(point.method.then), phases.of_rest
        return [
            *before,
            Job(_name("runs", label, seed), label, method, networks, {**own, **point.run}, seed, epochs, needs),
        ]

    def _teacher(self, point: Point, network: str, seed: int) -> Job:
        label, phases = self._ordinary[_key(network, point)], point.phases
        run = dict(point.run)
        if not has_published(network):
            run.pop("pretrained", None)
        epochs = phases.of_teachers // len(phases.teachers)
        networks, settings = {"teacher": network}, {"role": "teacher", **run}
        return Job(_name("teachers", label, seed), label, "plain", networks, settings, seed, epochs)

    def _file(self, job: Job) -> str:
        return str(self._folder / job.name / "teacher.safetensors")


def _name(kind: str, label: str, seed: int) -> str:
    return f"{kind}/{label}-seed{seed}"


def _key(network: str, point: Point) -> str:
    return json.dumps([network, point.run], sort_keys=True, default=str)


def _friendly_key(point: Point) -> str:
    return json.dumps([_friendly_settings(point), point.settings.networks, point.run], sort_keys=True, default=str)


def _friendly_settings(point: Point) -> dict[str, Any]:
    """Give SFTN's settings without those of the transfer, on which its teacher does not depend."""
    return {key: value for key, value in values_of(point.method).items() if key.partition(".")[0] != "then"}

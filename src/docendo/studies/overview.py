"""How far a study is, and how long it will still take."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from docendo.studies.job import Job


class At(NamedTuple):
    """Where a run is.

    Attributes:
        phase: the name of its phase.
        epoch: the epoch of that phase, from 1.
        epochs: how many that phase has.
        done: epochs that were trained in all phases, since the run was started or went on.
    """

    phase: str
    epoch: int
    epochs: int
    done: float


Event = At | str
"""What a run tells: where it is, or a line that its user should read."""


class Watch(Protocol):
    """Who is told what happens in a study."""

    def begin(self, overview: Overview) -> None:
        """Tell what is there and what is to be done."""

    def started(self, job: Job) -> None:
        """Tell that a run begins or goes on."""

    def heard(self, job: Job, event: Event) -> None:
        """Tell what a run tells."""

    def ended(self, job: Job, result: str, failed: bool) -> None:
        """Tell that a run ended, and with which result or why."""

    def say(self, text: str) -> None:
        """Tell a line that matters."""


@dataclass
class Overview:
    """How far a study is.

    Args:
        jobs: all runs.
        already: names of those that were finished before.
        workers: how many runs are done at a time.
        clock: gives seconds.

    Attributes:
        running: where each running run is, by name.
        finished: names of all that ended well.
        failed: why others failed, by name.
    """

    jobs: tuple[Job, ...]
    already: frozenset[str] = frozenset()
    workers: int = 1
    clock: Callable[[], float] = time.monotonic
    running: dict[str, At | None] = field(default_factory=dict)
    finished: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begin."""
        self.finished |= self.already
        self._by_name = {job.name: job for job in self.jobs}
        self._began: dict[str, float] = {}
        self._rates: dict[str, list[float]] = {}

    def started(self, job: Job) -> None:
        """Note that a run begins."""
        self.running[job.name], self._began[job.name] = None, self.clock()

    def at(self, job: Job, where: At) -> None:
        """Note where it is; the time before its first step is no measure for those that follow."""
        if self.running.get(job.name) is None:
            self._began[job.name] = self.clock()
        self.running[job.name] = where

    def ended(self, job: Job, failure: str | None) -> None:
        """Note that it ended, and why if it failed."""
        where = self.running.pop(job.name, None)
        if failure is not None:
            self.failed[job.name] = failure
            return
        self.finished.add(job.name)
        if where is not None and where.done:
            self._rates.setdefault(job.label, []).append(self.seconds_of(job) / where.done)

    def seconds_of(self, job: Job) -> float:
        """Give the time since a run of this session began to train."""
        return self.clock() - self._began[job.name]

    def left(self) -> float | None:
        """Give the seconds that are left, about; None if nothing is known yet.

        Epochs of a run take as long as those of its other seeds did, or do; else as long as epochs do on average here.
        """
        known = {
            self._by_name[name].label: self.seconds_of(self._by_name[name]) / at.done
            for name, at in self.running.items()
            if at is not None and at.done
        }
        known |= {label: statistics.fmean(rates) for label, rates in self._rates.items()}
        if not known:
            return None
        usual = statistics.fmean(known.values())
        total = 0.0
        for job in self.jobs:
            if job.name not in self.finished and job.name not in self.failed:
                at = self.running.get(job.name)
                total += known.get(job.label, usual) * max(job.epochs - (at.done if at else 0.0), 0.0)
        return total / max(1, min(self.workers, len(self.jobs) - len(self.finished) - len(self.failed)))

    def part(self) -> float:
        """Give the part of all epochs that is done, in [0, 1]."""
        done = sum(job.epochs for job in self.jobs if job.name in self.finished or job.name in self.failed)
        done_now = sum(min(at.done, self._by_name[name].epochs) for name, at in self.running.items() if at)
        return (done + done_now) / max(1, sum(job.epochs for job in self.jobs))

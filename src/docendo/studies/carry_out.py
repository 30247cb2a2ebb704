"""The runs of a study, one after the other or several at once, each after those that it needs."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from docendo.errors import DocendoError
from docendo.files import read_results
from docendo.studies.claims import Claims
from docendo.studies.folder import finished, follow
from docendo.studies.job import Job
from docendo.studies.overview import Event, Overview, Watch
from docendo.studies.process import Ended
from docendo.studies.workers import Workers

LOOK, WAIT = 1.0, 0.5
"""Seconds between two looks at what others do, and how long to listen to workers before anything else."""

TRIES = 2
"""How often a run is begun whose process dies: it may have been killed for the sake of another one."""


def carry_out(
    overview: Overview, folder: Path, workers: Workers, claims: Claims, watch: Watch, note: Callable[[], object]
) -> None:
    """Do all runs that are not finished; what became of them is in the overview.

    Args:
        overview: the study's.
        folder: the study's.
        workers: who does them.
        claims: which of them are ours.
        watch: is told what happens.
        note: is called whenever a run has ended.

    Raises:
        Interrupted: Ctrl-C or SIGTERM, after all that run have saved.
        KeyboardInterrupt: Ctrl-C where there was nothing to save.
        DocendoError: the storage does not answer.
    """
    _Session(overview, folder, workers, claims, watch, note).run()


class _Session:
    def __init__(
        self,
        overview: Overview,
        folder: Path,
        workers: Workers,
        claims: Claims,
        watch: Watch,
        note: Callable[[], object],
    ) -> None:
        self.overview, self.folder, self.workers, self.claims = overview, folder, workers, claims
        self.watch, self.note = watch, note
        self.by_name = {job.name: job for job in overview.jobs}
        self.died: Counter[str] = Counter()
        self.looked = 0.0

    def run(self) -> None:
        while True:
            if time.monotonic() - self.looked >= LOOK or not self.overview.running:
                self._look()
            self._start()
            if not self.overview.running and not self._open():
                return
            for ended in self.workers.wait(WAIT if self.overview.running else LOOK, self._hear):
                self._settle(ended)

    def _open(self) -> list[Job]:
        """Give the runs that have not ended, and are not running here."""
        o = self.overview
        done = o.finished | o.failed.keys() | o.running.keys()
        return [job for job in o.jobs if job.name not in done]

    def _look(self) -> None:
        """Find what others have finished, what failed with them, and what cannot be done any more."""
        self.looked = time.monotonic()
        failures = self.claims.failures()
        for job in self._open():
            if finished(self.folder, job):
                self._end(job, None)
            elif job.name in failures:
                self._end(job, failures[job.name])
        self._give_up(self._open())

    def _give_up(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            missing = [need for need in job.needs if need in self.overview.failed]
            if missing:
                self._end(job, f"{missing[0]} failed, and this run needs its weights")

    def _start(self) -> None:
        while self.workers.free:
            ready = [job.name for job in self._open() if self.overview.finished.issuperset(job.needs)]
            name = self.claims.claim(ready)
            if name is None:
                return
            job = self.by_name[name]
            self.overview.started(job)
            self.watch.started(job)
            self.workers.start(follow(self.folder, job))

    def _hear(self, job: Job, event: Event) -> None:
        if self.claims.has_lost(job.name):
            raise DocendoError("another worker took it over, as this one had not been heard of for long")
        if not isinstance(event, str):
            self.overview.at(job, event)
        self.watch.heard(job, event)

    def _settle(self, ended: Ended) -> None:
        job, failure = ended.job, ended.failure
        self.died[job.name] += ended.died
        lost = self.claims.has_lost(job.name)
        if lost or (ended.died and self.died[job.name] < TRIES):
            self.overview.running.pop(job.name)
            self.watch.say(f"{job.name}: {failure}" + ("" if lost else "; it goes on in a new one"))
            self.claims.drop(job.name)
            return
        self.claims.settle(job.name, failure)
        self._end(job, failure)
        if failure is not None:
            self._give_up(self._open())

    def _end(self, job: Job, failure: str | None) -> None:
        self.overview.ended(job, failure)
        self.note()
        self.watch.ended(job, _result(self.folder, job) if failure is None else failure, failure is not None)


def _result(folder: Path, job: Job) -> str:
    results = read_results(folder / job.name)
    return f"{results['deployed']} {results['networks'][results['deployed']]['test_top1']:.2%}"

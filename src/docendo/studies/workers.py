"""Who does the runs: this process, one after the other, or several at once."""

from __future__ import annotations

import time
from multiprocessing.connection import wait
from pathlib import Path
from types import TracebackType
from typing import Protocol

from docendo.engine.stop import StopRequest
from docendo.errors import Interrupted
from docendo.studies.job import Job, run_job
from docendo.studies.process import Ended, Hear, Worker
from docendo.studies.telling import Telling


class Workers(Protocol):
    """Who does the runs."""

    @property
    def free(self) -> int:
        """How many runs could be started now."""

    def start(self, job: Job) -> None:
        """Start a run."""

    def wait(self, seconds: float, hear: Hear) -> list[Ended]:
        """Wait for runs to end, for as long at most where that is possible.

        Args:
            seconds: how long.
            hear: is called with what runs tell; raises a DocendoError to end that run.

        Raises:
            Interrupted: Ctrl-C or SIGTERM, after all have saved.
        """


class Here:
    """This process: a run is done while it is waited for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._job: Job | None = None

    @property
    def free(self) -> int:
        """One, if nothing is to be done."""
        return 0 if self._job else 1

    def start(self, job: Job) -> None:
        """Note what to do."""
        self._job = job

    def wait(self, seconds: float, hear: Hear) -> list[Ended]:
        """Do it; without anything to do, sleep."""
        job, self._job = self._job, None
        if job is None:
            time.sleep(seconds)
            return []
        return [Ended(job, run_job(job, self._folder, Telling(lambda event: hear(job, event))))]


class Processes:
    """Several processes on this machine, each of which does one run after the other.

    Args:
        folder: the study's.
        number: how many.
        lock: a file on which each holds a lock for as long as it lives.
    """

    def __init__(self, folder: Path, number: int, lock: Path) -> None:
        self._folder, self._number, self._lock = folder, number, lock
        self._idle: list[Worker] = []
        self._busy: list[Worker] = []
        self._stop = StopRequest()

    def __enter__(self) -> Processes:
        """Listen to Ctrl-C and SIGTERM."""
        self._stop.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all processes; those that still work at once."""
        self._stop.__exit__(kind, error, trace)
        for worker in self._busy:
            worker.process.kill()
        for worker in self._idle:
            worker.dismiss()
        for worker in (*self._idle, *self._busy):
            worker.process.join()
            worker.connection.close()

    @property
    def free(self) -> int:
        """How many processes have nothing to do, or are not there yet."""
        return self._number - len(self._busy)

    def start(self, job: Job) -> None:
        """Give the run to a process."""
        worker = self._idle.pop() if self._idle else self._new()
        worker.give(job)
        self._busy.append(worker)

    def wait(self, seconds: float, hear: Hear) -> list[Ended]:
        """Wait for what they say."""
        ended = []
        ready = wait([worker.connection for worker in self._busy], seconds) if self._busy else []
        if not self._busy:
            time.sleep(seconds)
        for worker in [worker for worker in self._busy if worker.connection in ready]:
            found = worker.listen(hear)
            if found is not None:
                ended.append(found)
                self._busy.remove(worker)
                if worker.process.is_alive():
                    self._idle.append(worker)
        if self._stop.signal is not None:
            self._let_all_save()
            raise Interrupted("", self._stop.exit_code)
        return ended

    def _new(self) -> Worker:
        taken = {worker.place for worker in (*self._idle, *self._busy)}
        place = next(i for i in range(self._number) if i not in taken)
        return Worker(self._folder, self._lock, place, self._number)

    def _let_all_save(self) -> None:
        for worker in self._busy:
            worker.process.terminate()
        for worker in self._busy:
            worker.outlive()

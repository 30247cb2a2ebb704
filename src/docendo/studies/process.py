"""One of several processes that do the runs of a study on this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NamedTuple

import torch

from docendo.errors import DocendoError
from docendo.studies.job import Job, run_job
from docendo.studies.overview import Event
from docendo.studies.presence import hold
from docendo.studies.telling import Telling

START = "spawn"
"""How processes are started: anew, as one that computes on several threads or a GPU cannot be copied."""

Hear = Callable[[Job, Event], None]


class Ended(NamedTuple):
    """A run that ended.

    Attributes:
        job: which.
        failure: why it failed, in one line; None if it finished.
        died: whether its process ended without a word.
    """

    job: Job
    failure: str | None
    died: bool = False


class Worker:
    """A process and the way to it.

    Args:
        folder: the study's.
        lock: a file on which it holds a lock for as long as it lives.
        place: which of them it is, from 0.
        number: how many share this machine.
    """

    def __init__(self, folder: Path, lock: Path, place: int, number: int) -> None:
        self.place = place
        self.connection, theirs = multiprocessing.Pipe()
        starting: Any = multiprocessing.get_context(START)
        self.process = starting.Process(target=_work, args=(theirs, folder, lock))
        with _environment(shares(place, number, os.environ)), _deaf_to_ctrl_c():
            self.process.start()
        theirs.close()

    def give(self, job: Job) -> None:
        """Let it do a run."""
        self._job = job
        with suppress(BrokenPipeError):  # it has died, which is heard when it is listened to
            self.connection.send(job)

    def listen(self, hear: Hear) -> Ended | None:
        """Take what it says: an event, which is passed on, or that its run has ended, which is given back."""
        try:
            said = self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            return Ended(self._job, f"its process ended by itself, {_cause(self.process.exitcode)}", died=True)
        if isinstance(said, Ended):
            return said
        try:
            hear(self._job, said)
        except DocendoError as error:
            self.process.kill()
            self.process.join()
            return Ended(self._job, str(error))
        return None

    def dismiss(self) -> None:
        """Let it end, as nothing is left to be done."""
        with suppress(BrokenPipeError):
            self.connection.send(None)

    def outlive(self) -> None:
        """Wait for its end, whatever it still says."""
        with suppress(EOFError, OSError):
            while True:
                self.connection.recv()
        self.process.join()


def shares(place: int, number: int, environment: Mapping[str, str]) -> dict[str, str]:
    """Give the environment in which a process has its share of the machine: of its threads, and one of its GPUs.

    Args:
        place: which process, from 0.
        number: how many there are.
        environment: of the study; what it says of threads stands.

    >>> shares(0, 1000, {})["OMP_NUM_THREADS"], shares(0, 2, {"OMP_NUM_THREADS": "3"})["OMP_NUM_THREADS"]
    ('1', '3')
    >>> shares(3, 4, {"CUDA_VISIBLE_DEVICES": "4,6"})["CUDA_VISIBLE_DEVICES"]
    '6'
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    found = {"OMP_NUM_THREADS": environment.get("OMP_NUM_THREADS", str(max(1, cores // number)))}
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    cards = visible.split(",") if visible is not None else [str(i) for i in range(torch.cuda.device_count())]
    if len(cards) > 1:
        found["CUDA_VISIBLE_DEVICES"] = cards[place % len(cards)]
    return found


def _work(connection: Connection, folder: Path, lock: Path) -> None:
    """Do what the study asks for, one run after the other, and end with it."""
    held = hold(lock, shared=True)
    threading.Thread(target=_end_with_the_study, daemon=True).start()
    with suppress(EOFError, OSError, KeyboardInterrupt):  # the study has ended, or wants all to end
        while (job := connection.recv()) is not None:
            connection.send(Ended(job, run_job(job, folder, Telling(connection.send))))
    if held is not None:
        held.close()


def _end_with_the_study() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None  # it was started by one
    wait([parent.sentinel])
    os._exit(1)


def _cause(code: int | None) -> str:
    if code is not None and code < 0:
        cause = f"by {signal.Signals(-code).name}"
        return f"{cause}, as where memory runs out" if -code == signal.SIGKILL else cause
    return f"with exit code {code}"


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for a process that is started now."""
    before = {key: os.environ.get(key) for key in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Let a process that is started now leave Ctrl-C to the study, which tells it to save and end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)

"""A study in plain lines: one for each run that ends, and one every half minute in between."""

from __future__ import annotations

import time
from typing import TextIO

from docendo.studies.job import Job
from docendo.studies.overview import At, Event, Overview

EVERY = 30.0
"""Seconds between lines while nothing ends."""


class StudyLines:
    """Writes plain lines (`docendo.studies.overview.Watch`).

    Args:
        stream: where they go.
        every: seconds between lines while nothing ends.
    """

    def __init__(self, stream: TextIO, every: float = EVERY) -> None:
        self._stream, self._every = stream, every
        self._last = time.monotonic()
        self._warned: set[str] = set()

    def begin(self, overview: Overview) -> None:
        """Say how much there is to do."""
        self._overview = overview
        self.say(to_do(overview))

    def started(self, job: Job) -> None:
        """Write nothing."""

    def heard(self, job: Job, event: Event) -> None:
        """Write a warning once, and now and then where a run is."""
        if isinstance(event, str):
            if event.startswith("warning") and event not in self._warned:
                self._warned.add(event)
                self.say(f"{job.name}: {event}")
        elif time.monotonic() - self._last >= self._every:
            self.say(f"{job.name}: {where(event)}{self._left()}")

    def ended(self, job: Job, result: str, failed: bool) -> None:
        """Write its result, or why it failed."""
        done = len(self._overview.finished) + len(self._overview.failed)
        total = len(self._overview.jobs)
        place = f"[{done:{len(str(total))}}/{total}]"
        self.say(f"{place} {job.name}{' FAILED' if failed else ''}: {result}{self._left()}")

    def say(self, text: str) -> None:
        """Write a line."""
        self._last = time.monotonic()
        print(text, file=self._stream, flush=True)

    def _left(self) -> str:
        left = self._overview.left()
        return f"; about {minutes(left)} left" if left else ""


def to_do(overview: Overview) -> str:
    """Say how many runs there are, and how many of them were there before.

    >>> to_do(Overview(()))
    '0 runs'
    """
    there = f", {len(overview.already)} of them finished before" if overview.already else ""
    return f"{len(overview.jobs)} run{'s' * (len(overview.jobs) != 1)}{there}"


def where(at: At) -> str:
    """Say where a run is.

    >>> where(At("student", 3, 12, 2.5))
    'student, epoch 3/12'
    """
    return f"{at.phase}, epoch {at.epoch}/{at.epochs}"


def minutes(seconds: float) -> str:
    """Write a rough time.

    >>> minutes(20), minutes(100), minutes(9000)
    ('20 s', '2 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"

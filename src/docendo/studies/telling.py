"""From the progress of one run to what its study wants to know."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from docendo.engine.progress import Losses
from docendo.studies.overview import At, Event

EVERY = 0.5
"""Seconds between two events within an epoch."""


class Telling:
    """Tells a study where a run is (`docendo.engine.progress.Progress`).

    Args:
        tell: is called with each event.
    """

    def __init__(self, tell: Callable[[Event], None]) -> None:
        self._tell = tell
        self._phase, self._epochs, self._steps = "", 0, 1
        self._before = self._skipped = 0.0
        self._told = 0.0

    def say(self, text: str) -> None:
        """Pass it on."""
        self._tell(text)

    def phase(self, name: str, epochs: int, steps: int, done: int) -> None:
        """Count on from what other phases took."""
        self._before += self._epochs - self._skipped
        self._phase, self._epochs, self._steps, self._skipped = name, epochs, steps, done / steps
        self._at(1 + done // steps, done / steps)

    def step(self, epoch: int, step: int, images: int, losses: Losses) -> None:
        """Tell, if the last time is long ago."""
        if time.monotonic() - self._told >= EVERY:
            self._at(epoch, epoch - 1 + step / self._steps)

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Tell."""
        self._at(row["epoch"], row["epoch"])

    def _at(self, epoch: int, done: float) -> None:
        self._told = time.monotonic()
        self._tell(At(self._phase, min(epoch, self._epochs), self._epochs, self._before + done - self._skipped))

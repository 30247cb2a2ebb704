"""Signs of life of those who work on trials of an Optuna storage, and how others know that somebody is dead."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from docendo.studies.presence import Presence, machine

BEAT, GRACE = 20.0, 120.0
"""Seconds between two signs of life, and how long others wait for the next before they take over."""


class Signs:
    """Counts up in each trial that this worker has, and watches those of others.

    That a worker on this machine has ended is known by its lock. Elsewhere one is taken for dead if its number stands
    still for `grace` seconds of our own clock, so that the clocks of machines need not agree.

    Args:
        storage: where the trials are.
        presence: this worker.
        beat: seconds between two signs of life.
        grace: how long to wait for the next one.
    """

    def __init__(self, storage: BaseStorage, presence: Presence, beat: float = BEAT, grace: float = GRACE) -> None:
        self._storage, self._presence, self._grace = storage, presence, grace
        self._mine: set[int] = set()
        self._lost: set[int] = set()
        self._seen: dict[int, tuple[object, float]] = {}
        self._stop = threading.Event()
        self._beating = threading.Thread(target=self._beat, args=(beat,), daemon=True)
        self._beating.start()

    def show(self, trial: int) -> None:
        """Sign a trial that is running now, and show from here on that its worker lives."""
        self._storage.set_trial_user_attr(trial, "worker", {"name": self._presence.name, "machine": machine()})
        self._mine.add(trial)

    def end(self, trial: int) -> None:
        """Show nothing any more."""
        self._mine.discard(trial)

    def has_lost(self, trial: int) -> bool:
        """Say whether somebody ended a trial of ours, as this worker was taken for dead."""
        return trial in self._lost

    def is_dead(self, trial: FrozenTrial) -> bool:
        """Say whether a trial is running and its worker is not."""
        if trial.state != TrialState.RUNNING or trial._trial_id in self._mine:
            return False
        worker = trial.user_attrs.get("worker", {})
        if worker.get("machine") == machine() and self._presence.is_gone(worker["name"]):
            return True
        return self.stands_still(trial)

    def stands_still(self, trial: FrozenTrial) -> bool:
        """Say whether a trial has shown nothing new for too long."""
        state, now = (trial.state, trial.user_attrs.get("beat")), time.monotonic()
        if self._seen.get(trial.number, (None, 0.0))[0] != state:
            self._seen[trial.number] = (state, now)
        return now - self._seen[trial.number][1] > self._grace

    def close(self) -> None:
        """Show nothing any more, whatever is still running."""
        self._stop.set()
        self._beating.join()

    def _beat(self, every: float) -> None:
        count = 0
        while not self._stop.wait(every):
            count += 1
            for trial in [*self._mine]:
                try:
                    self._storage.set_trial_user_attr(trial, "beat", count)
                except UpdateFinishedTrialError:
                    if trial in self._mine:
                        self._lost.add(trial)
                except StorageInternalError:
                    pass  # it may answer again before the others lose patience
        with suppress(StorageInternalError):
            self._storage.remove_session()

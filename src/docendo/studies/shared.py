"""Who does which run, where several processes or machines work on one study through an Optuna storage.

Each run has a trial. To claim a run is to turn its trial from waiting to running, which a storage lets one process
alone do. A trial whose worker ended without a word is marked as failed, and the run gets a new one.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from optuna.exceptions import DuplicatedStudyError, StorageInternalError, UpdateFinishedTrialError
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from docendo.errors import DocendoError
from docendo.studies.presence import Presence
from docendo.studies.signs import BEAT, GRACE, Signs
from docendo.studies.storage import open_storage, unreachable


class Shared:
    """Claims by trials of an Optuna study.

    Args:
        address: of the storage, as `open_storage` takes it.
        folder: the study's.
        presence: this worker.
        title: the name of the Optuna study; by default the folder's.
        beat: seconds between two signs of life.
        grace: how long others wait for the next one.
    """

    def __init__(
        self,
        address: str,
        folder: Path,
        presence: Presence,
        *,
        title: str | None = None,
        beat: float = BEAT,
        grace: float = GRACE,
    ) -> None:
        self._address = address
        self._storage = open_storage(address, folder)
        with self._reached():
            self._study = self._open_study(title or title_of(folder))
            self._before = {trial.number for trial in self._trials() if trial.state.is_finished()}
        self._mine: dict[str, int] = {}
        self._signs = Signs(self._storage, presence, beat, grace)

    def claim(self, names: Iterable[str]) -> str | None:
        """Claim the first of these runs that nobody else has; take over what a dead worker has left."""
        with self._reached():
            current = self._current()
            for name in names:
                if name in current and self._signs.is_dead(current[name]):
                    self._finish(current[name]._trial_id)
                    current = self._current()
                if name not in current:
                    # Two may do so at once. Then there are two trials, of which all see the same as the first.
                    self._enqueue(name)
                    current = self._current()
                if self._take(name, current[name]):
                    return name
        return None

    def settle(self, name: str, failure: str | None) -> None:
        """Tell the others that a claimed run is finished, or why it failed."""
        with self._reached():
            self._end(name, failure, done=failure is None)

    def drop(self, name: str) -> None:
        """Give a claimed run back."""
        with self._reached():
            self._end(name)

    def has_lost(self, name: str) -> bool:
        """Say whether others took a claimed run over, as they took this worker for dead."""
        return name in self._mine and self._signs.has_lost(self._mine[name])

    def failures(self) -> Mapping[str, str]:
        """Give the reasons why runs of others failed, by name; also of those that never appear in this folder."""
        found = {}
        with self._reached():
            current = self._current()
        for name, trial in current.items():
            if "failure" in trial.user_attrs:
                found[name] = trial.user_attrs["failure"]
            elif trial.state.is_finished() and self._signs.stands_still(trial):
                found[name] = "another worker finished it in a folder that is not this one: bring it here"
        return found

    def close(self) -> None:
        """Give back what was claimed and not settled."""
        self._signs.close()
        with suppress(StorageInternalError):  # then the others find out by themselves
            for name in [*self._mine]:
                self._end(name)
            self._storage.remove_session()

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except StorageInternalError as error:
            raise unreachable(self._address, error) from error

    def _open_study(self, title: str) -> int:
        with suppress(DuplicatedStudyError):
            self._storage.create_new_study([StudyDirection.MAXIMIZE], title)
        return self._storage.get_study_id_from_name(title)

    def _trials(self) -> list[FrozenTrial]:
        trials = self._storage.get_all_trials(self._study, deepcopy=False)
        return sorted(trials, key=lambda trial: trial.number)

    def _current(self) -> dict[str, FrozenTrial]:
        """Give the trial that counts for each run: the first one that has not failed, else the last failure.

        What had ended before this worker came is past: if its run is asked for again, it is to be done again.
        """
        current: dict[str, FrozenTrial] = {}
        for trial in self._trials():
            name, failed = trial.user_attrs.get("run"), trial.state == TrialState.FAIL
            past = trial.state.is_finished() and trial.number in self._before
            if name is None or past or (failed and "failure" not in trial.user_attrs):
                continue
            if name not in current or current[name].state == TrialState.FAIL:
                current[name] = trial
        return current

    def _enqueue(self, name: str) -> None:
        waiting = create_trial(state=TrialState.WAITING, user_attrs={"run": name})
        self._storage.create_new_trial(self._study, waiting)

    def _take(self, name: str, trial: FrozenTrial) -> bool:
        if trial.state != TrialState.WAITING:
            return False
        with suppress(UpdateFinishedTrialError):
            if self._storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING):
                self._signs.show(trial._trial_id)
                self._mine[name] = trial._trial_id
                return True
        return False

    def _end(self, name: str, failure: str | None = None, *, done: bool = False) -> None:
        trial = self._mine.pop(name)
        self._signs.end(trial)
        self._finish(trial, failure, done=done)

    def _finish(self, trial: int, failure: str | None = None, *, done: bool = False) -> None:
        with suppress(UpdateFinishedTrialError):  # somebody else did
            if failure is not None:
                self._storage.set_trial_user_attr(trial, "failure", failure[:1000])
            self._storage.set_trial_state_values(trial, TrialState.COMPLETE if done else TrialState.FAIL)


def title_of(folder: Path) -> str:
    """Give the name of a study in storages, which whoever comes first invents: folders of one name are kept apart.

    Raises:
        DocendoError: whoever came first did not finish the file.
    """
    path = folder / ".name"
    with suppress(FileExistsError), path.open("x") as file:
        file.write(f"docendo {folder.resolve().name} {uuid.uuid4().hex[:8]}\n")
    for _ in range(100):
        title = path.read_text()
        if title.endswith("\n"):
            return title.strip()
        time.sleep(0.05)
    raise DocendoError(f"{path} has no end: delete it, and start again")

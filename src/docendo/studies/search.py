"""The trials of a search, one after the other in this process, shared with others through an Optuna storage."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState, create_trial

from docendo.data.seeds import seed_for
from docendo.engine.progress import Progress
from docendo.errors import DocendoError
from docendo.methods import values_of
from docendo.recipes.protocols import dotted
from docendo.studies.folder import finished
from docendo.studies.grid import Point
from docendo.studies.job import Job, run_job
from docendo.studies.presence import Presence
from docendo.studies.shared import Shared, title_of
from docendo.studies.signs import Signs
from docendo.studies.space import Range
from docendo.studies.storage import open_storage
from docendo.studies.trial import Reporting, carry_out, suggest

Pruner = Literal["median", "hyperband", "none"]

WAIT = 1.0
"""Seconds between two looks at what others do."""


class Counts(NamedTuple):
    """How many trials there are of each kind."""

    finished: int
    given_up: int
    failed: int
    running: int

    @property
    def ended(self) -> int:
        """How many need nothing any more."""
        return self.finished + self.given_up + self.failed


class Search:
    """One search.

    Args:
        address: of the storage, as `open_storage` takes it.
        folder: the search's.
        presence: this worker.
        pruner: when a trial is given up.
        jobs: the run that all trials vary, after those of its teachers.
        point: what it is.
        ranges: what is searched.
    """

    def __init__(
        self,
        address: str,
        folder: Path,
        presence: Presence,
        pruner: Pruner,
        jobs: Sequence[Job],
        point: Point,
        ranges: Mapping[str, Range],
    ) -> None:
        self._folder, self._point, self._ranges = folder, point, ranges
        self._warned: set[str] = set()
        *self._teachers, self._job = jobs
        self._storage = open_storage(address, folder)
        title = title_of(folder)
        self._claims = Shared(address, folder, presence, title=f"{title} teachers")
        self._study = optuna.create_study(
            storage=self._storage,
            study_name=title,
            direction="maximize",
            load_if_exists=True,
            pruner=_pruner(pruner, self._job.epochs),
        )
        # A worker that comes later must not draw again what the first one has drawn.
        drawn = len(self._study.get_trials(deepcopy=False))
        seed = seed_for(self._job.seed, "search", drawn, *([] if presence.is_alone else [presence.name])) % 2**32
        self._study.sampler = optuna.samplers.TPESampler(seed=seed)
        self._signs = Signs(self._storage, presence)
        settings = point.settings.model_dump(mode="json", exclude={"settings"})
        self._now = {**dict(dotted(settings)), **values_of(point.method)}

    def do(self, trials: int, progress: Progress, say: Callable[[str], None]) -> None:
        """Do trials until there are so many, together with others.

        Raises:
            DocendoError: a teacher that cannot be trained.
            Interrupted: Ctrl-C or SIGTERM, after saving.
            KeyboardInterrupt: Ctrl-C where there was nothing to save.
        """
        for teacher in self._teachers:
            self._train(teacher, progress, say)
        while (counts := self.counts()).ended < trials:
            self._replace_dead()
            if counts.ended + counts.running >= trials:
                time.sleep(WAIT)  # the last ones are others'
                continue
            trial = self._study.ask()
            self._signs.show(trial._trial_id)
            try:
                text = self._do(trial, progress)
            except BaseException:
                self._put_back(self._storage.get_trial(trial._trial_id))
                raise
            finally:
                self._signs.end(trial._trial_id)
            best = self.best()
            so_far = f"; best {best.value:.2%}" if best is not None and best.value is not None else ""
            settings = " ".join(f"{key}={_short(value)}" for key, value in trial.params.items())
            say(f"[{self.counts().ended:{len(str(trials))}}/{trials}] {settings}: {text}{so_far}")

    def counts(self) -> Counts:
        """Count the trials; those that were begun again elsewhere count once."""
        trials = self._study.get_trials(deepcopy=False)
        states = [trial.state for trial in trials]
        failed = sum(trial.state == TrialState.FAIL and "failure" in trial.user_attrs for trial in trials)
        return Counts(
            states.count(TrialState.COMPLETE), states.count(TrialState.PRUNED), failed, states.count(TrialState.RUNNING)
        )

    def best(self) -> FrozenTrial | None:
        """Give the best of the finished trials."""
        with suppress(ValueError):  # none is finished
            return self._study.best_trial
        return None

    def close(self) -> None:
        """Leave the storage."""
        self._signs.close()
        self._claims.close()
        self._storage.remove_session()

    def _train(self, teacher: Job, progress: Progress, say: Callable[[str], None]) -> None:
        while not finished(self._folder, teacher):
            if self._claims.claim([teacher.name]):
                failure = run_job(teacher, self._folder, progress, test=False)
                self._claims.settle(teacher.name, failure)
                say(failure or f"{teacher.name} is trained, for all trials")
            elif failure := self._claims.failures().get(teacher.name):
                raise DocendoError(failure)
            else:
                time.sleep(WAIT)

    def _do(self, trial: optuna.Trial, progress: Progress) -> str:
        chosen = suggest(trial, self._ranges, self._now)
        name = trial.user_attrs.get("folder", f"{trial.number:04}")
        trial.set_user_attr("folder", name)
        phases = self._point.phases
        reporting = Reporting(trial, phases.deployed, phases.of_rest, progress, self._warned)
        return carry_out(self._study, trial, self._job, self._folder / "trials" / name, chosen, reporting)

    def _replace_dead(self) -> None:
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if self._signs.is_dead(trial):
                self._put_back(trial)

    def _put_back(self, trial: FrozenTrial) -> None:
        """Let whoever comes next go on with a trial, in the same folder."""
        with suppress(UpdateFinishedTrialError):  # somebody else did, or it has ended
            self._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
            if "folder" in trial.user_attrs:
                again = create_trial(
                    state=TrialState.WAITING,
                    params=trial.params,
                    distributions=trial.distributions,
                    user_attrs={"folder": trial.user_attrs["folder"]},
                )
                self._study.add_trial(again)


def _pruner(name: Pruner, epochs: int) -> optuna.pruners.BasePruner:
    if name == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=epochs // 4)
    if name == "hyperband":
        return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=max(1, epochs))
    return optuna.pruners.NopPruner()


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)

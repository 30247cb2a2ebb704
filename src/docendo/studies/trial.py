"""One trial of a search: a run with settings that the search chose, judged by its validation images alone."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from optuna.trial import TrialState

from docendo.engine.progress import Losses, Progress
from docendo.recipes.run import train
from docendo.recipes.settings import WHOLE_NUMBERS
from docendo.studies.job import Job, failure_of
from docendo.studies.space import Range


class Reporting:
    """Tells a search how good a run is after each epoch, and ends it where that is not enough.

    Args:
        trial: the search's.
        role: the network to deploy: phases that do not train it say nothing.
        epochs: how many there will be; after the last nothing is gained by giving up.
        shown: shows progress.
        warned: warnings that were shown before, which are not shown again.
    """

    def __init__(self, trial: optuna.Trial, role: str, epochs: int, shown: Progress, warned: set[str]) -> None:
        self._trial, self._key, self._epochs, self._shown, self._warned = (
            trial,
            f"val_top1/{role}",
            epochs,
            shown,
            warned,
        )
        self._phase, self._before, self._last = "", 0, 0

    def say(self, text: str) -> None:
        """Show a warning once: the rest is the same for each trial."""
        if text.startswith("warning") and text not in self._warned:
            self._warned.add(text)
            self._shown.say(text)

    def phase(self, name: str, epochs: int, steps: int, done: int) -> None:
        """Count on from the phases before it."""
        self._before += self._last
        self._last = 0
        self._shown.phase(name, epochs, steps, done)

    def step(self, epoch: int, step: int, images: int, losses: Losses) -> None:
        """Show it."""
        self._shown.step(epoch, step, images, losses)

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Report the accuracy, if the row has that of this network.

        Raises:
            TrialPruned: others were better by then.
        """
        self._shown.epoch(row)
        if self._key in row:
            self._last = row["epoch"]
            done = self._before + self._last
            self._trial.report(row[self._key], done)
            if done < self._epochs and self._trial.should_prune():
                raise optuna.TrialPruned


def suggest(trial: optuna.Trial, space: Mapping[str, Range], now: Mapping[str, Any]) -> dict[str, Any]:
    """Let the search choose.

    Args:
        trial: the search's.
        space: what it may choose from.
        now: the settings as they are, which say of a method's own what is a whole number.
    """
    chosen: dict[str, Any] = {}
    for key, among in space.items():
        if among.choices:
            chosen[key] = trial.suggest_categorical(key, among.choices)
            continue
        assert among.low is not None  # a range without choices has both ends
        assert among.high is not None
        if isinstance(now.get(key), int) or key in WHOLE_NUMBERS:
            chosen[key] = trial.suggest_int(key, round(among.low), round(among.high), log=among.log)
        else:
            chosen[key] = trial.suggest_float(key, among.low, among.high, log=among.log)
    return chosen


def carry_out(
    search: optuna.Study, trial: optuna.Trial, job: Job, folder: Path, chosen: Mapping[str, Any], progress: Progress
) -> str:
    """Do one trial, or go on with it, and tell the search what came out.

    Args:
        search: the search.
        trial: its trial.
        job: the run that all trials vary.
        folder: of the trial's run.
        chosen: the settings that vary it.
        progress: shows progress; ends a trial by raising TrialPruned.

    Returns:
        What came out, in words.

    Raises:
        Interrupted: Ctrl-C or SIGTERM, after saving.
    """
    networks: dict[str, Any] = dict(job.networks)
    try:
        run = train(
            job.method,
            **networks,
            set={**job.settings, **chosen},
            seed=job.seed,
            out=folder,
            resume=True,
            progress=progress,
            test=False,
        )
    except optuna.TrialPruned:
        search.tell(trial, state=TrialState.PRUNED)
        text = "given up, as others were better by then"
    except StorageInternalError:
        raise
    except Exception as error:  # a method of the user's own, or a device, may fail in any way
        message = failure_of(error, folder)
        trial.set_user_attr("failure", message[:1000])
        search.tell(trial, state=TrialState.FAIL)
        text = f"FAILED: {message}"
    else:
        value: float = run.results["networks"][run.results["deployed"]]["val_top1"]
        search.tell(trial, value)
        text = f"validation {value:.2%}"
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)  # they take much room and serve nobody any more
    return text

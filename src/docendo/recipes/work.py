"""A run, from what is asked for to its folder: first all that can be refused, then the training."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import torch
from lightning_fabric import Fabric
from torch import nn

from docendo.core import Phase
from docendo.data import DataSet
from docendo.data.seeds import seed_for
from docendo.engine.processes import first_checks
from docendo.engine.progress import Both, Lines, Progress, Silent
from docendo.engine.rehearse import rehearsal
from docendo.engine.side_by_side import Ask, at_once
from docendo.engine.stop import StopRequest
from docendo.engine.train import Trainer
from docendo.errors import DocendoError
from docendo.files import write_atomically
from docendo.recipes.build import Builder, default_networks, led
from docendo.recipes.folder import RunFolder, check_folder, command_of
from docendo.recipes.following import recipe_notes
from docendo.recipes.logs import logging_to
from docendo.recipes.results import results_of
from docendo.recipes.settings import Request, RunSettings

Shown = Progress | Callable[[], AbstractContextManager[Progress]] | None
"""Shows progress, or gives in the process that trains what does, for a `with`; None is plain lines."""


@dataclass(frozen=True)
class Work:
    """A run that can be made: its settings are whole, its folder is free, its method has been rehearsed.

    Attributes:
        fabric: where, one of whose processes is this one.
        method: with its settings.
        settings: of the run.
        images: its images.
        folder: its folder.
        resume: whether it may go on in that folder.
        test: whether to look at the test images at the end.
    """

    fabric: Fabric
    method: Any
    settings: RunSettings
    images: DataSet
    folder: Path
    resume: bool
    test: bool

    def do(
        self,
        progress: Shown,
        log_to: str | None,
        ask: Ask = at_once,
        listening: Callable[[], AbstractContextManager[StopRequest]] = StopRequest,
    ) -> Path:
        """Train, as one process of the run; the first one talks and writes. Gives the folder.

        Args:
            progress: where to show progress.
            log_to: where else losses and accuracies go.
            ask: asks frozen networks.
            listening: listens for a wish to stop.
        """
        with contextlib.ExitStack() as stack:
            shown: Progress = Silent()
            if self.fabric.is_global_zero:
                begun = (self.folder / "config.yaml").exists()
                stack.enter_context(contextlib.closing(RunFolder(self.folder, self.settings, resume=self.resume)))
                log = stack.enter_context((self.folder / "log.txt").open("a", encoding="utf-8"))
                shown = Both(stack.enter_context(showing(progress)), Lines(log))
                if log_to is not None:
                    values = self.settings.model_dump(mode="json")
                    shown = Both(shown, stack.enter_context(logging_to(log_to, self.folder, values)))
                stack.push(lambda kind, error, trace: _write_down(log, error))
                if self.resume and not begun:
                    shown.say(f"nothing to resume in {self.folder}: this run begins there")
            self.fabric.barrier()
            if (self.folder / "results.json").exists():
                shown.say(f"already finished: {self.folder}")
            else:
                self._train(shown, ask, listening)
        return self.folder

    def _train(
        self, progress: Progress, ask: Ask, listening: Callable[[], AbstractContextManager[StopRequest]]
    ) -> None:
        fabric, method, settings = self.fabric, self.method, self.settings
        command = command_of(settings, method, self.folder)
        for note in (*recipe_notes(settings), *self.images.notes, *getattr(method, "notes", ())):
            progress.say(note)
        images = self.images.to(fabric.device)
        trainer = Trainer(
            fabric,
            images,
            settings,
            settings.seed,
            self.folder,
            progress,
            f"{command} --resume",
            ask=ask,
            listening=listening,
        )
        with seeded(settings):
            networks = led(method, trainer, Builder(settings, images, progress.say))
        if fabric.is_global_zero or trainer.sharding:
            results = results_of(networks, method, settings, trainer, self.folder, command, test=self.test)
        if fabric.is_global_zero:
            text = json.dumps(results, indent=2, ensure_ascii=False) + "\n"
            write_atomically(self.folder / "results.json", text.encode())
        fabric.barrier()


def prepare(
    fabric: Fabric,
    request: Request,
    images: DataSet,
    folder_of: Callable[[RunSettings], Path],
    *,
    resume: bool,
    test: bool,
) -> Work:
    """See whether a run can be made, before its folder is claimed: a mistake found here leaves nothing behind.

    Args:
        fabric: where it will be made.
        request: what is asked for.
        images: its images.
        folder_of: names its folder.
        resume: whether it may go on in that folder.
        test: whether to look at the test images at the end.

    Raises:
        DocendoError: it cannot be made.
    """
    settings = request.resolve(image_size=images.image_size, networks=default_networks(images))
    if settings.best_on_test and not test:
        raise DocendoError("best_on_test looks at the test images, which a search of settings must not: leave it out")
    folder = folder_of(settings)
    first_checks(fabric, lambda: check_folder(folder, settings, resume=resume))
    with seeded(settings):
        led(request.method, _rehearsal(images), Builder(settings, images))
    return Work(fabric, request.method, settings, images, folder, resume, test)


@contextmanager
def showing(progress: Shown) -> Iterator[Progress]:
    """Give what shows progress in this process."""
    if progress is None:
        yield Lines(sys.stdout)
    elif callable(progress):
        with progress() as shown:
            yield shown
    else:
        yield progress


def _write_down(log: TextIO, error: BaseException | None) -> None:
    if isinstance(error, DocendoError | KeyboardInterrupt):
        Lines(log).say(str(error) or "stopped")


def _rehearsal(images: DataSet) -> Any:
    plan = rehearsal(images.train)

    def rehearsing(phase: Phase) -> Mapping[str, nn.Module]:
        plan(phase)
        return phase.learners

    return rehearsing


@contextmanager
def seeded(settings: RunSettings) -> Iterator[None]:
    """Seed what a method makes besides the networks of its roles, and leave the caller's random state as it was."""
    strict = torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng():
        torch.manual_seed(seed_for(settings.seed, "parts"))
        torch.use_deterministic_algorithms(settings.deterministic or strict)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(strict)

"""One method under several seeds, trained side by side."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric

import docendo.data
from docendo.core import Method
from docendo.engine.allocator import keep_freed_memory
from docendo.engine.processes import launch, make_fabric
from docendo.engine.progress import Losses, Progress, row_text
from docendo.engine.side_by_side import Ask, side_by_side
from docendo.engine.stop import StopRequest
from docendo.errors import DocendoError, Interrupted
from docendo.recipes.folder import command_of, folder_of_seeds, names_in
from docendo.recipes.logs import check_log
from docendo.recipes.run import Run, read_run
from docendo.recipes.settings import Request, RunSettings
from docendo.recipes.walk import request_of_one
from docendo.recipes.work import Shown, Work, prepare, showing


def train_seeds(
    method: str | Method,
    seeds: Sequence[int],
    *,
    out: str | Path | None = None,
    config: str | Path | None = None,
    set: Mapping[str, Any] | None = None,
    resume: bool = False,
    log: str | None = None,
    progress: Shown = None,
    test: bool = True,
    **named: Any,
) -> tuple[Run, ...]:
    """Train a method under several seeds side by side in one process, one step of each in turn.

    Each run gives what it gives alone, up to rounding: a frozen network that several have in common answers them all in
    one batch, and images lie on the device once.

    Args:
        method: a method's name or object.
        seeds: different ones, each at least 0.
        out: holds a run folder for each seed, "seed-0" and so on; by default named after the runs, under "runs".
        config: as `docendo.train` takes it.
        set: likewise.
        resume: go on with runs that were stopped; finished ones are only read.
        log: as `docendo.train` takes it.
        progress: shows the first seed's, and what matters of the others.
        test: look at the test images at the end.
        named: teacher, student, data, epochs and so on, as `docendo.train` takes them, but for seed.

    Returns:
        The runs, in the order of their seeds.

    Raises:
        DocendoError: anything the user can put right, in one line; about one seed alone, when the others are done.
        Interrupted: Ctrl-C or SIGTERM, after saving; says how to go on.
    """
    if not seeds or len({*seeds}) < len(seeds):
        raise DocendoError(f"seeds is {list(seeds)}, but must be different seeds, at least one, such as [0, 1, 2]")
    if log is not None:
        check_log(log)
        if log != "tensorboard" and len(seeds) > 1:
            raise DocendoError(
                f"log is {log}, which has one run in a process, but the runs of {len(seeds)} seeds share one: log to "
                "tensorboard, or train each seed by a command of its own"
            )
    requests = [
        request_of_one("train with several seeds", method, {**named, "seed": seed}, set, config) for seed in seeds
    ]
    folders = launch(make_fabric(requests[0].machine), _run, requests, seeds, out, resume, progress, log, test)
    return tuple(read_run(folder) for folder in folders)


def _run(
    fabric: Fabric,
    requests: Sequence[Request],
    seeds: Sequence[int],
    out: str | Path | None,
    resume: bool,
    progress: Shown,
    log: str | None,
    test: bool,
) -> list[Path]:
    """Do all runs; gives their folders."""
    keep_freed_memory()
    images = docendo.data.load(requests[0].data).to(fabric.device)

    def folder_of(settings: RunSettings) -> Path:
        several = Path(out) if out is not None else folder_of_seeds(settings)
        _look(several)
        return several / f"seed-{settings.seed}"

    # A fabric each: in 16-mixed it holds the scale of the gradients.
    works = [prepare(make_fabric(r.machine), r, images, folder_of, resume=resume, test=test) for r in requests]
    with showing(progress) as shown, StopRequest() as stop:

        def doing(work: Work, seed: int, ask: Ask) -> Path:
            teller = OfSeed(shown, seed, leading=seed == seeds[0])
            return work.do(teller, log, ask, lambda: nullcontext(stop))

        doings = [partial(doing, work, seed) for work, seed in zip(works, seeds, strict=True)]
        ends = side_by_side(doings, fabric.device)
    return _folders(ends, works, seeds)


def _look(folder: Path) -> None:
    """Make sure that a folder may hold the runs of several seeds: it has nothing in it but such, and a report."""
    if not all(re.fullmatch(r"seed-\d+|report.*", name) for name in names_in(folder)):
        raise DocendoError(f"{folder} holds other things than runs of seeds: choose an empty or new folder as --out")


def _folders(ends: Sequence[Any], works: Sequence[Work], seeds: Sequence[int]) -> list[Path]:
    """Give the folders of finished runs, or say of those that did not finish why."""
    failed = {seed: end for seed, end in zip(seeds, ends, strict=True) if isinstance(end, BaseException)}
    first = works[0]
    again = command_of(first.settings, first.method, first.folder.parent, seeds)
    for error in failed.values():
        if isinstance(error, KeyboardInterrupt):
            raise Interrupted.told_again(error, f"; all is saved. Go on with: {again} --resume") from error
    for seed, error in failed.items():
        others = "the runs of all other seeds are finished" if len(failed) == 1 else f"so failed {len(failed)} seeds"
        if isinstance(error, DocendoError):
            raise DocendoError(f"seed {seed}: {error}; {others}") from error
        error.add_note(f"seed {seed}; {others}")
        raise error
    return [*ends]


class OfSeed:
    """Shows one seed's progress among others: all of the leading one, of others warnings and how phases end.

    Args:
        progress: where.
        seed: whose.
        leading: whether it is shown whole.
    """

    def __init__(self, progress: Progress, seed: int, *, leading: bool) -> None:
        self._progress, self._who, self._leading = progress, f"seed {seed}", leading

    def say(self, text: str) -> None:
        """Show a line that matters."""
        if self._leading:
            self._progress.say(text)
        elif text.startswith("warning"):
            self._progress.say(f"warning: {self._who}: {text.removeprefix('warning: ')}")

    def phase(self, name: str, epochs: int, steps: int, done: int) -> None:
        """Start a phase."""
        self._name, self._epochs = f"{self._who}, {name}", epochs
        if self._leading:
            self._progress.phase(self._name, epochs, steps, done)

    def step(self, epoch: int, step: int, images: int, losses: Losses) -> None:
        """Show a step of the leading seed."""
        if self._leading:
            self._progress.step(epoch, step, images, losses)

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Show an epoch, of others the last."""
        if self._leading:
            self._progress.epoch(row)
        elif row["epoch"] == self._epochs:
            self._progress.say(f"{self._name}: epoch {row['epoch']}/{self._epochs}  {row_text(row)}")

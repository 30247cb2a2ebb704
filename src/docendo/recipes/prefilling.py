"""Filling the teacher memory before a study, so that none of its runs has to."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from docendo.core import Method, Phase
from docendo.data import EpochTable
from docendo.engine.loop import Loop, converted
from docendo.engine.processes import launch, make_fabric
from docendo.engine.progress import Progress, Silent
from docendo.engine.teacher_memory import why_not
from docendo.engine.train import Trainer
from docendo.errors import DocendoError, Interrupted
from docendo.recipes.settings import Request, RunSettings, names_weights
from docendo.recipes.walk import request_of_one, walk


def prefill(
    method: str | Method,
    *,
    set: Mapping[str, Any] | None = None,
    config: str | Path | None = None,
    progress: Progress | None = None,
    **named: Any,
) -> dict[str, int]:
    """Let the frozen networks of a run answer all views of all training images, as far as the memory has room.

    Stopped at any moment it keeps what it has, and goes on from there the next time.

    Args:
        method: a method's name or object.
        set: further settings by dotted key, as `docendo.train` takes them.
        config: a YAML file with settings.
        progress: shows progress: a phase for each network, an epoch for each view.
        named: teacher, data, teacher_memory and so on, as `docendo.train` takes them.

    Returns:
        How many answers are remembered now, by role.

    Raises:
        DocendoError: as `train` does; no frozen network of this run is one whose weights are there, and whose answers
            can be remembered.
    """
    request = request_of_one("prefill", method, named, set, config)
    return launch(make_fabric(request.machine), _prefill, request, progress or Silent())  # type: ignore[no-any-return]


def _prefill(fabric: Fabric, request: Request, progress: Progress) -> dict[str, int]:
    remembered: dict[str, int] = {}
    reasons: list[str] = []

    def fill(trainer: Trainer, settings: RunSettings, phase: Phase) -> None:
        trained = {role for role, network in settings.networks.items() if names_weights(network)}
        if phase.frozen and phase.frozen.keys() <= trained:
            with trainer.ready(phase, trainer.place(phase)) as loop:
                if loop.memory.roles:
                    _fill(loop, progress)
                    remembered.update(loop.memory.sizes())
                elif settings.teacher_memory == "off":
                    reasons.append("teacher_memory is off")
                else:
                    found = {role: why_not(phase, loop.plan.reads[role], loop.data) for role in phase.frozen}
                    reasons.extend(f"{role} answers anew at every step: {why}" for role, why in found.items() if why)

    settings = walk(fabric, request, fill)
    if not remembered and reasons:
        raise DocendoError(f"nothing of {settings.method} here can be remembered: {'; '.join(reasons)}")
    if not remembered:
        raise DocendoError(
            f"{settings.method} has no frozen network here whose answers could be remembered: give the weights file of "
            "a teacher whose logits alone are read (docendo explain says of which)"
        )
    return remembered


def _fill(loop: Loop, progress: Progress) -> None:
    train, settings = loop.data.train, loop.settings
    views = train.augmentation.count or 0
    # Training leaves out a last batch of one image; here it counts too.
    size = next(size for size in itertools.count(settings.batch_size) if len(train) % size != 1)
    progress.phase(f"memory of {', '.join(sorted(loop.memory.roles))}", views, -(-len(train) // size), 0)
    everyone = torch.arange(len(train))
    for view in range(views):
        table = EpochTable(everyone, torch.full_like(everyone, view))
        batches = train.batches(size, table=table)
        for step, (batch, _) in enumerate(loop.memory.along(converted(b, settings) for b in batches), 1):
            progress.step(view + 1, step, len(batch.labels), dict)
            if loop.stop.signal is not None:
                raise Interrupted(
                    f"stopped by {loop.stop.who} at view {view + 1} of {views}; what was computed is remembered. "
                    "Go on with the same command",
                    loop.stop.exit_code,
                )
        if any(loop.memory.news()):
            progress.say("the memory is full")
            return

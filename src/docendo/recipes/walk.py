"""A run's phases one after the other, each made ready as if to be trained, and none trained."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric
from torch import nn

import docendo.data
from docendo.core import Method, Phase
from docendo.engine.allocator import keep_freed_memory
from docendo.engine.progress import Silent
from docendo.engine.train import Trainer
from docendo.errors import DocendoError
from docendo.recipes.build import Builder, default_networks, led
from docendo.recipes.settings import Request, RunSettings, flags_of
from docendo.recipes.work import seeded


def request_of_one(
    command: str, method: str | Method, named: Mapping[str, Any], sets: Mapping[str, Any] | None, config: Any
) -> Request:
    """Give what is asked for.

    Raises:
        DocendoError: more than one process is.
    """
    request = Request(method, flags_of(named), sets, config)
    if request.machine.devices * request.machine.nodes > 1:
        raise DocendoError(f"{command} works in one process: leave --devices and --nodes out")
    return request


def walk(fabric: Fabric, request: Request, visit: Callable[[Trainer, RunSettings, Phase], None]) -> RunSettings:
    """Lead a method through its phases, whose networks stay as they are first made.

    Args:
        fabric: where.
        request: the run.
        visit: is shown each phase, with a trainer whose folder is gone afterwards, and the run's settings.

    Returns:
        The run's settings.
    """
    keep_freed_memory()
    images = docendo.data.load(request.data).to(fabric.device)
    settings = request.resolve(image_size=images.image_size, networks=default_networks(images))
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(fabric, images, settings, settings.seed, Path(folder), Silent(), "")

        def passing(phase: Phase) -> Mapping[str, nn.Module]:
            visit(trainer, settings, phase)
            return phase.learners

        with seeded(settings):
            led(request.method, passing, Builder(settings, images))
    return settings

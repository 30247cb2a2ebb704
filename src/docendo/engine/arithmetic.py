"""How networks compute while a run trains: in which number format, and convolutions by which algorithm."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from lightning_fabric import Fabric

from docendo.engine.native import CannotBuild
from docendo.engine.processes import everyones
from docendo.engine.settings import TrainSettings
from docendo.engine.winograd import Winograd
from docendo.errors import DocendoError


@dataclass(frozen=True)
class Arithmetic:
    """How networks compute in training.

    Attributes:
        autocast: the number format.
        winograd: computes 3x3 convolutions; None where PyTorch does.
    """

    autocast: Callable[[], AbstractContextManager[Any]]
    winograd: Winograd | None = None

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        """Let networks compute so."""
        with self.autocast(), self.convolutions():
            yield

    def convolutions(self) -> AbstractContextManager[Any]:
        """Let convolutions alone be computed so, in the number format that networks have."""
        return self.winograd or contextlib.nullcontext()


def arithmetic_of(fabric: Fabric, settings: TrainSettings, say: Callable[[str], None]) -> Arithmetic:
    """Give how the networks of a run compute.

    Args:
        fabric: where they do.
        settings: of the run.
        say: takes a line that the user should read.

    Raises:
        DocendoError: winograd is on, and cannot be here.
    """
    if settings.winograd == "off":
        return Arithmetic(fabric.autocast)
    reason, winograd = _meant_for_others(fabric, settings), None
    if not reason:
        failed = ""
        try:
            winograd = Winograd(remember=not settings.shard_frozen)  # which is for weights too large for one process
        except CannotBuild as error:
            failed = str(error)
        reason = next(filter(None, everyones(fabric, failed)), "")  # all processes compute alike
        if reason and settings.winograd == "auto":
            say(f"3x3 convolutions take about twice as long as they could: {reason}")
    if reason and settings.winograd == "on":
        raise DocendoError(f"winograd is on, but cannot be here: {reason}; leave it out, or set it to auto")
    return Arithmetic(fabric.autocast, None if reason else winograd)


def _meant_for_others(fabric: Fabric, settings: TrainSettings) -> str:
    if fabric.device.type != "cpu":
        return f"it is for CPUs, and this run is on {fabric.device.type}"
    if settings.precision != "32-true":
        return f"it is for precision 32-true, and this run is in {settings.precision}"
    if settings.compile != "off":
        return f"compile={settings.compile} computes convolutions its own way"
    return "" if settings.channels_last else "it is for images with channels last"

"""The teacher memory: a frozen network's logits for a view are computed once, and kept for all runs that ask again.

An answer is found by what it depends on: the folder by a hash of the network's weights and layers, the images and how
they are made, the number format and the machine; the row by (index, view). Answers are computed in blocks of one size
whoever asks, and a network whose answer to an image depends on its place in such a block is not served. So it makes no
difference which batch, run or process asked first, nor what the disk has lost: runs with the memory agree bit for bit.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import NamedTuple

from torch import Tensor, nn

from docendo.core import Batch, Output, Phase
from docendo.data import DataSet
from docendo.engine.arithmetic import Arithmetic
from docendo.engine.networks import Reads
from docendo.engine.remembered import CannotRemember, Remembered
from docendo.engine.settings import TrainSettings

_AHEAD = 2**26
"""Bytes of images that are looked at ahead, so that blocks can be filled from many batches."""

Lap = Callable[[str], None]
"""Is told the name of each part of a step when it ends."""


def unmeasured(part: str) -> None:
    """Measure nothing."""


class TeacherMemory:
    """The frozen networks of a phase whose answers are remembered.

    Args:
        roles: these networks by role.
    """

    def __init__(self, roles: Mapping[str, Remembered]) -> None:
        self._roles = roles
        self._told: set[str] = set()

    @property
    def roles(self) -> frozenset[str]:
        """The roles that it answers for."""
        return frozenset(self._roles)

    def along(
        self, batches: Iterator[Batch], lap: Lap = unmeasured
    ) -> Generator[tuple[Batch, dict[str, Output]], None, None]:
        """Give batches with the answers of the networks that it serves, looking some batches ahead."""
        if not self._roles:
            for batch in batches:
                lap("data")
                yield batch, {}
            return
        for role in self._roles.values():
            with contextlib.suppress(OSError):  # what others have added since is welcome, not needed
                role.file.refresh()
        for some in _ahead(batches):
            lap("data")
            windows = {name: role.window(some) for name, role in self._roles.items()}
            first = 0
            try:
                for batch in some:
                    last = first + len(batch.labels)
                    yield batch, {name: _only_logits(w.logits(first, last)) for name, w in windows.items()}
                    first = last
            finally:  # also of what a stopped run has computed
                for window in windows.values():
                    window.keep()

    def sizes(self) -> dict[str, int]:
        """Count the answers that are remembered, by role."""
        return {name: len(role.file) for name, role in self._roles.items()}

    def news(self) -> Iterator[str]:
        """Say, once, why answers of a network are no longer kept."""
        for name, role in self._roles.items():
            if role.file.full and name not in self._told:
                self._told.add(name)
                yield f"{name} (frozen): no further answers are remembered: {role.file.full}"

    def close(self) -> None:
        """Let the room be taken by others."""
        for role in self._roles.values():
            role.close()


def _only_logits(logits: Tensor) -> Output:
    return Output(logits, None, ())  # type: ignore[arg-type]  # nobody reads the rest


def _ahead(batches: Iterator[Batch]) -> Iterator[list[Batch]]:
    """Put batches together until their images take `_AHEAD` bytes."""
    some: list[Batch] = []
    size = 0
    for batch in batches:
        some.append(batch)
        size += batch.images.nbytes
        if size >= _AHEAD:
            yield some
            some, size = [], 0
    if some:
        yield some


def why_not(phase: Phase, reads: Reads, data: DataSet) -> str:
    """Say why a method's frozen network is not one whose answers could be remembered; empty if it is."""
    if phase.frozen_statistics == "batch":
        return "it uses the statistics of each batch"
    if phase.views is not None:
        return "the method makes views of its own"
    if data.mixes:
        return "images are mixed"
    if reads != {"logits"}:
        return "its features are read, and only logits are remembered"
    if data.augmentation.count is None:
        return "views are drawn anew without end; --set data.pool=16 would give each image 16"
    return ""


class Expected(NamedTuple):
    """What a memory is expected to save, for each training image.

    Attributes:
        asked: answers that a run asks for.
        new: those among them that it has to compute if nothing is remembered yet.
        views: all that there are, which a prefill computes.
        seeds: how many seeds meet nine tenths of all views, so that a prefill computes little in vain.
    """

    asked: int
    new: float
    views: int
    seeds: int


def expected(epochs: int, views: int) -> Expected:
    """Say what a memory is expected to save in a run where each epoch draws one of so many views of each image.

    >>> ten, all_240 = expected(10, 162), expected(240, 162)
    >>> round(ten.new / ten.asked, 2), round(all_240.new / all_240.asked, 2), ten.seeds, all_240.seeds
    (0.97, 0.52, 38, 2)
    """
    rest = math.log1p(-1 / views) if views > 1 else -math.inf  # of the part not met, in an epoch
    new = -views * math.expm1(epochs * rest)
    return Expected(epochs, new, views, max(1, math.ceil(math.log(0.1) / (epochs * rest))))


def open_memory(
    frozen: Mapping[str, nn.Module],
    phase: Phase,
    reads: Mapping[str, Reads],
    data: DataSet,
    settings: TrainSettings,
    images: Tensor,
    arithmetic: Arithmetic,
    say: Callable[[str], None],
) -> TeacherMemory:
    """Open the memory of a phase's frozen networks, and say of each how much of it is remembered, or why nothing.

    Args:
        frozen: the networks as they answer, by role.
        phase: theirs.
        reads: what the phase reads of each.
        data: the images of the run.
        settings: of the run.
        images: a few, as networks get them.
        arithmetic: how networks compute.
        say: takes lines that the user should read.
    """
    roles: dict[str, Remembered] = {}
    for name, network in frozen.items() if settings.teacher_memory != "off" else ():
        try:
            reason = why_not(phase, reads[name], data)
            if reason:
                raise CannotRemember(reason)
            roles[name] = Remembered(network, data, settings, images, arithmetic)
        except CannotRemember as error:
            say(f"{name} (frozen) answers anew at every step: {error}")
        else:
            known = len(roles[name].file)
            say(f"{name} (frozen): {known:,} answers are remembered of {roles[name].possible:,} that there can be")
    return TeacherMemory(roles)

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
from contextlib import AbstractContextManager
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from docendo.core import Batch, Output, Phase
from docendo.data import DataSet
from docendo.engine.answer_file import AnswerFile
from docendo.engine.memory_folder import Place, budget_of, memory_folder
from docendo.engine.networks import Reads, adaptation_of, answer
from docendo.engine.packing import Largest, Packing, Whole
from docendo.engine.settings import TrainSettings
from docendo.engine.store import digest

_BLOCK = {"cpu": 64, "cuda": 512}
"""Images a block: what keeps the device busy; part of what an answer depends on."""
_AHEAD = 2**26
"""Bytes of images that are looked at ahead, so that blocks can be filled from many batches."""
_VERSION = 1  # of how answers are computed and stored

AutoCast = Callable[[], AbstractContextManager[Any]]


Lap = Callable[[str], None]
"""Is told the name of each part of a step when it ends."""


def unmeasured(part: str) -> None:
    """Measure nothing."""


class CannotRemember(Exception):
    """Why a frozen network's answers are not remembered."""


@dataclass(frozen=True)
class Asking:
    """How a frozen network is asked: always as many images at once.

    Attributes:
        network: as it answers.
        block: images that are asked together.
        layout: of the images in memory.
        autocast: the number format in which it answers.
    """

    network: nn.Module
    block: int
    layout: torch.memory_format
    autocast: AutoCast

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Give the logits of at most a block of images, which is filled up with the last one."""
        empty = self.block - len(images)
        if empty:
            images = torch.cat([images, images[-1:].expand(empty, -1, -1, -1)])
        batch = Batch.of(images.contiguous(memory_format=self.layout), torch.zeros(self.block))
        with self.autocast():
            logits = answer({"it": self.network}, {"it": frozenset({"logits"})}, batch)["it"].logits
        return logits[: self.block - empty]

    def treats_all_alike(self, images: Tensor) -> bool:
        """Say whether the answer to an image is the same, bit for bit, wherever it stands in a block."""
        images = images.repeat(-(-self.block // len(images)), 1, 1, 1)[: self.block]
        return torch.equal(self(images).flip(0), self(images.flip(0)))


class _Window:
    """The answers to some batches: those known, and those computed when they are wanted, in full blocks."""

    def __init__(self, ask: Asking, file: AnswerFile, packing: Packing, views: int, batches: list[Batch]) -> None:
        self._ask, self._file, self._packing = ask, file, packing
        self._keys = torch.cat([batch.index * views + batch.view for batch in batches]).cpu()
        rows, known = file.read(self._keys)
        self._rows = rows.to(batches[0].images.device)
        self._missing = (~known).nonzero()[:, 0]
        self._images = torch.cat([batch.images for batch in batches]) if len(self._missing) else torch.empty(0)
        self._computed = 0

    def logits(self, first: int, last: int) -> Tensor:
        """Give the logits of the images from `first` to `last`, exclusive."""
        while self._computed < len(self._missing) and int(self._missing[self._computed]) < last:
            places = self._missing[self._computed : self._computed + self._ask.block].to(self._rows.device)
            self._rows[places] = self._packing.pack(self._ask(self._images[places]))
            self._computed += len(places)
        return self._packing.unpack(self._rows[first:last])

    def keep(self) -> None:
        """Write down what was computed."""
        new = self._missing[: self._computed]
        self._file.add(self._keys[new], self._rows[new.to(self._rows.device)].cpu())


class Remembered:
    """One frozen network whose answers are remembered.

    Args:
        network: as it answers.
        data: the images of the run.
        settings: of the run.
        images: a few, as networks get them.
        autocast: the number format in which networks answer.

    Raises:
        CannotRemember: its answers cannot be remembered, for this reason.
    """

    def __init__(
        self, network: nn.Module, data: DataSet, settings: TrainSettings, images: Tensor, autocast: AutoCast
    ) -> None:
        count = data.augmentation.count
        if count is None:
            raise CannotRemember("views are drawn anew without end")
        layout = torch.channels_last if settings.channels_last else torch.contiguous_format
        self._ask = Asking(network, _BLOCK.get(images.device.type, 64), layout, autocast)
        if not self._ask.treats_all_alike(images):
            raise CannotRemember("its answer to an image depends on the images beside it")
        logits = self._ask(images[:1])
        self._views, classes, kept = count, logits.shape[1], settings.teacher_memory_top
        few = kept is not None and kept < classes
        self._packing = Largest(kept or 0, classes, logits.dtype) if few else Whole(classes, logits.dtype)
        self.possible = len(data.train) * count
        row = AnswerFile.row_bytes(self._packing.bytes)
        try:
            self._place = Place(
                _depends_on(network, data, settings, images.device, self._ask.block),
                budget_of(settings.teacher_memory),
                row * min(self.possible, len(data.train) * settings.epochs),
            )
            self.file = AnswerFile(self._place.folder, self.possible, self._packing.bytes, self._place.budget)
        except OSError as error:
            raise CannotRemember(f"{memory_folder()} cannot be used: {error.strerror or error}") from error

    def window(self, batches: list[Batch]) -> _Window:
        """Give the answers to some batches."""
        return _Window(self._ask, self.file, self._packing, self._views, batches)

    def close(self) -> None:
        """Let the room be taken by others."""
        self._place.close()


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
    autocast: AutoCast,
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
        autocast: the number format in which networks answer.
        say: takes lines that the user should read.
    """
    roles: dict[str, Remembered] = {}
    for name, network in frozen.items() if settings.teacher_memory != "off" else ():
        try:
            reason = why_not(phase, reads[name], data)
            if reason:
                raise CannotRemember(reason)
            roles[name] = Remembered(network, data, settings, images, autocast)
        except CannotRemember as error:
            say(f"{name} (frozen) answers anew at every step: {error}")
        else:
            known = len(roles[name].file)
            say(f"{name} (frozen): {known:,} answers are remembered of {roles[name].possible:,} that there can be")
    return TeacherMemory(roles)


def _depends_on(
    network: nn.Module, data: DataSet, settings: TrainSettings, device: torch.device, block: int
) -> dict[str, Any]:
    return {
        "version": _VERSION,
        "weights": digest(network),
        "layers": blake2b(repr(network).encode(), digest_size=16).hexdigest(),
        "data": data.fingerprint,
        "images of the network": repr(adaptation_of(network)),
        "precision": settings.precision,
        "channels_last": settings.channels_last,
        "compile": settings.compile != "off",
        "block": block,
        "top": settings.teacher_memory_top,
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
    }

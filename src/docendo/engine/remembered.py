"""One frozen network's remembered answers: how it is asked, and what its answers depend on."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor, nn

from docendo.core import Batch
from docendo.data import DataSet
from docendo.engine.answer_file import AnswerFile
from docendo.engine.arithmetic import Arithmetic
from docendo.engine.memory_folder import Place, budget_of, memory_folder
from docendo.engine.networks import adaptation_of, answer
from docendo.engine.packing import Largest, Packing, Whole
from docendo.engine.settings import TrainSettings
from docendo.engine.store import digest

_BLOCK = {"cpu": 64, "cuda": 512}
_MOST = 2**29  # a place in memory of four bytes each, 2 GiB
"""Images a block: what keeps the device busy; part of what an answer depends on."""
_VERSION = 1  # of how answers are computed and stored


class CannotRemember(Exception):
    """Why a frozen network's answers are not remembered."""


@dataclass(frozen=True)
class Asking:
    """How a frozen network is asked: always as many images at once.

    Attributes:
        network: as it answers.
        block: images that are asked together.
        layout: of the images in memory.
        arithmetic: how it computes.
    """

    network: nn.Module
    block: int
    layout: torch.memory_format
    arithmetic: Arithmetic

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Give the logits of at most a block of images, which is filled up with the last one."""
        empty = self.block - len(images)
        if empty:
            images = torch.cat([images, images[-1:].expand(empty, -1, -1, -1)])
        batch = Batch.of(images.contiguous(memory_format=self.layout), torch.zeros(self.block))
        with self.arithmetic():
            logits = answer({"it": self.network}, {"it": frozenset({"logits"})}, batch)["it"].logits
        return logits[: self.block - empty]

    def treats_all_alike(self, images: Tensor) -> bool:
        """Say whether the answer to an image is the same, bit for bit, wherever it stands in a block."""
        images = images.repeat(-(-self.block // len(images)), 1, 1, 1)[: self.block]
        return torch.equal(self(images).flip(0), self(images.flip(0)))


class Window:
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
        arithmetic: how networks compute.

    Raises:
        CannotRemember: its answers cannot be remembered, for this reason.
    """

    def __init__(
        self, network: nn.Module, data: DataSet, settings: TrainSettings, images: Tensor, arithmetic: Arithmetic
    ) -> None:
        count = data.augmentation.count
        if count is None:
            raise CannotRemember("views are drawn anew without end")
        layout = torch.channels_last if settings.channels_last else torch.contiguous_format
        self._ask = Asking(network, _BLOCK.get(images.device.type, 64), layout, arithmetic)
        if not self._ask.treats_all_alike(images):
            raise CannotRemember("its answer to an image depends on the images beside it")
        logits = self._ask(images[:1])
        self._views, classes, kept = count, logits.shape[1], settings.teacher_memory_top
        few = kept is not None and kept < classes
        self._packing = Largest(kept or 0, classes, logits.dtype) if few else Whole(classes, logits.dtype)
        self.possible = len(data.train) * count
        if self.possible > _MOST:
            raise CannotRemember(f"{self.possible:,} views are too many to be found again: data.pool makes them fewer")
        row = AnswerFile.row_bytes(self._packing.bytes)
        try:
            self._place = Place(
                _depends_on(network, data, settings, images.device, self._ask),
                budget_of(settings.teacher_memory),
                row * min(self.possible, len(data.train) * settings.epochs),
            )
            self.file = AnswerFile(self._place.folder, self.possible, self._packing.bytes, self._place.budget)
        except OSError as error:
            raise CannotRemember(f"{memory_folder()} cannot be used: {error.strerror or error}") from error

    def window(self, batches: list[Batch]) -> Window:
        """Give the answers to some batches."""
        return Window(self._ask, self.file, self._packing, self._views, batches)

    def close(self) -> None:
        """Let the room be taken by others."""
        self._place.close()


def _depends_on(
    network: nn.Module, data: DataSet, settings: TrainSettings, device: torch.device, ask: Asking
) -> dict[str, Any]:
    return {
        "version": _VERSION,
        "weights": digest(network),
        "layers": blake2b(repr(network).encode(), digest_size=16).hexdigest(),
        "data": data.fingerprint,
        "images of the network": repr(adaptation_of(network)),
        "precision": settings.frozen_precision or settings.precision,
        "channels_last": settings.channels_last,
        "compile": settings.compile != "off",
        **({"convolutions": ask.arithmetic.winograd.version} if ask.arithmetic.winograd else {}),
        "block": ask.block,
        "top": settings.teacher_memory_top,
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
    }

"""What every source gives: parts, each a list of labelled images that can be read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from os import cpu_count
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from docendo.data.images import read_image, shown, square
from docendo.errors import DocendoError

PartName = Literal["train", "val", "test"]
Unreadable = Mapping[int, str]
"""Rows that cannot be read, each with the reason and its place."""

# Below this many bytes a file is decoded so quickly that threads mostly wait for each other.
_WORTH_A_THREAD = 16 * 1024
_BLOCK = 256


class Piece(NamedTuple):
    """Where in a larger file an image file is: from byte `offset`, `size` bytes."""

    path: str
    offset: int
    size: int


Encoded = str | Piece | bytes | np.ndarray[Any, np.dtype[np.uint8]] | None
"""An image file: its path, its place in a larger file, or its bytes; pixels that are decoded already; nothing."""


def decode(encoded: Encoded, where: str, short_side: int | None = None) -> Image.Image:
    """Decode an image; see `docendo.data.read_image`.

    Raises:
        DocendoError: it cannot be read.
    """
    if encoded is None:
        raise DocendoError(f"cannot read {shown(where)}: there is no image")
    if isinstance(encoded, np.ndarray):
        return Image.fromarray(encoded[:, :, 0] if encoded.shape[2] == 1 else encoded)
    if isinstance(encoded, Piece):
        try:
            with Path(encoded.path).open("rb") as file:
                file.seek(encoded.offset)
                encoded = file.read(encoded.size)
        except OSError as error:
            raise DocendoError(f"cannot read {shown(where)}: {error.strerror or error}") from error
    return read_image(encoded, where, short_side)


class Part(ABC):
    """Some labelled images, not yet decoded.

    Attributes:
        labels: (N,), int64.
    """

    labels: Tensor

    @abstractmethod
    def encoded(self, rows: Tensor) -> Iterator[Encoded]:
        """Give images one by one in the order of `rows`, as `decode` takes them, also in another process.

        Raises:
            DocendoError: the file that holds them cannot be read.
        """

    @abstractmethod
    def where(self, row: int) -> str:
        """Say where an image is: a path, or a file and a row."""

    @abstractmethod
    def listing(self) -> Iterable[str]:
        """Say what tells this part from another without decoding it: names and sizes."""

    def shuffled(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Draw an order in which `rows` (in ascending order) are streamed: (len(rows),), int64, places in `rows`."""
        return torch.randperm(len(rows), generator=generator)

    def streaming_notes(self) -> Iterable[str]:
        """Say what users should know if these images are streamed."""
        return ()

    def read(self, row: int, short_side: int | None = None) -> Image.Image:
        """Decode one image.

        Raises:
            DocendoError: it cannot be read.
        """
        return decode(next(self.encoded(torch.tensor([row]))), self.where(row), short_side)

    def examples(self, count: int, short_side: int) -> list[Image.Image]:
        """Decode at most so many images to judge the others by; those that cannot be read are left out."""
        images = []
        rows = self._some_rows(min(count, len(self.labels)))
        for row, encoded in zip(rows.tolist(), self.encoded(rows), strict=True):
            with suppress(DocendoError):
                images.append(decode(encoded, self.where(row), short_side))
        return images

    def decode(self, channels: int, side: int) -> tuple[Tensor, Unreadable]:
        """Decode all images.

        Returns:
            (N, side, side, channels), uint8, and those that cannot be read, black among the others.
        """
        pixels = np.zeros((len(self.labels), side, side, channels), np.uint8)

        def keep(row: int, encoded: Encoded) -> None:
            image = square(decode(encoded, self.where(row), side), channels, side)
            pixels[row] = np.asarray(image).reshape(pixels.shape[1:])

        return torch.from_numpy(pixels), self._visit(keep)

    def unreadable(self) -> Unreadable:
        """Decode all images, as small as possible, to find those that cannot be read."""

        def look(row: int, encoded: Encoded) -> None:
            decode(encoded, self.where(row), 1)

        return self._visit(look)

    def _some_rows(self, count: int) -> Tensor:
        return torch.linspace(0, len(self.labels) - 1, count).long()

    def _visit(self, look: Any) -> Unreadable:
        """Call `look(row, encoded)` for every image, in threads where that helps; gather its errors."""

        def message(row: int, encoded: Encoded) -> str | None:
            try:
                look(row, encoded)
            except DocendoError as error:
                return str(error).removeprefix("cannot read ")
            return None

        bad: dict[int, str] = {}
        everything = self.encoded(torch.arange(len(self.labels)))
        with ThreadPoolExecutor(cpu_count()) as pool:
            for first in range(0, len(self.labels), _BLOCK):
                block = list(islice(everything, _BLOCK))
                rows = range(first, first + len(block))
                worth = any(not isinstance(one, bytes) or len(one) >= _WORTH_A_THREAD for one in block)
                messages = (pool.map if worth else map)(message, rows, block)
                bad |= {row: text for row, text in zip(rows, messages, strict=True) if text is not None}
        return bad


@dataclass(frozen=True)
class Found:
    """What a source found.

    Attributes:
        name: what to call the data set.
        classes: names, in the order of the labels.
        parts: "train" always; "val" and "test" where the source has them.
        channels: 1 for grey, 3 for RGB.
        image_size: the set's own side in pixels; None if it has none.
        flip: whether a mirrored image still shows its class.
        mean: published mean of each channel, in [0, 1]; None: to be computed.
        std: published standard deviation of each channel, in [0, 1]; None: to be computed.
        notes: sentences that the user should read.
    """

    name: str
    classes: tuple[str, ...]
    parts: Mapping[PartName, Part]
    channels: int = 3
    image_size: int | None = None
    flip: bool = True
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False, repr=False)
class ArrayPart(Part):
    """Images that come decoded.

    Attributes:
        name: what to call the array in messages.
        pixels: (N, H, W, C), uint8.
        labels: (N,), int64.
    """

    name: str
    pixels: Tensor
    labels: Tensor

    def encoded(self, rows: Tensor) -> Iterator[Encoded]:
        """Give pixels; see `Part`."""
        return (self.pixels[row].numpy() for row in rows.tolist())

    def decode(self, channels: int, side: int) -> tuple[Tensor, Unreadable]:
        """Give all images; see `Part`."""
        return (self.pixels, {}) if self.pixels.shape[1:] == (side, side, channels) else super().decode(channels, side)

    def where(self, row: int) -> str:
        """Name an image; see `Part`."""
        return f"{self.name} image {row}"

    def listing(self) -> Iterable[str]:
        """Name the array; see `Part`."""
        yield f"{self.name} {tuple(self.pixels.shape)}"

"""What every source gives: parts, each a list of labelled images that can be read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from os import cpu_count
from typing import Literal, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from docendo.data.images import read_image, square, to_tensor
from docendo.errors import DocendoError

PartName = Literal["train", "val", "test"]

# Below this many bytes a file is decoded so quickly that threads mostly wait for each other.
_WORTH_A_THREAD = 16 * 1024


class Part(Protocol):
    """Some labelled images, not yet decoded.

    Attributes:
        labels: (N,), int64.
    """

    @property
    def labels(self) -> Tensor:  # noqa: D102
        ...

    def read(self, row: int) -> Image.Image:
        """Decode one image.

        Raises:
            DocendoError: it cannot be read.
        """
        ...

    def examples(self, count: int) -> list[Image.Image]:
        """Decode a few images to judge the others by, at most `count`; those that cannot be read are left out."""
        ...

    def decode(self, channels: int, side: int) -> Tensor:
        """Decode all images: (N, side, side, channels), uint8.

        Raises:
            DocendoError: some cannot be read; it counts them and names the first.
        """
        ...

    def make_ready(self) -> None:
        """Get ready to `read` in any order, also from processes forked later."""
        ...

    def where(self, row: int) -> str:
        """Say where an image is: a path, or a file and a row."""
        ...

    def listing(self) -> Iterable[str]:
        """Say what tells this part from another without decoding it: names and sizes."""
        ...


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
class ArrayPart:
    """Images that come decoded.

    Attributes:
        name: what to call the array in messages.
        pixels: (N, H, W, C), uint8.
        labels: (N,), int64.
    """

    name: str
    pixels: Tensor
    labels: Tensor

    def read(self, row: int) -> Image.Image:
        """Give one image; see `Part`."""
        pixels = self.pixels[row].numpy()
        return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)

    def examples(self, count: int) -> list[Image.Image]:
        """Give the first images; see `Part`."""
        return [self.read(row) for row in range(min(count, len(self.labels)))]

    def decode(self, channels: int, side: int) -> Tensor:
        """Give all images; see `Part`."""
        if self.pixels.shape[1:] == (side, side, channels):
            return self.pixels
        images = [to_tensor(square(self.read(row), channels, side)) for row in range(len(self.labels))]
        return torch.stack(images).permute(0, 2, 3, 1).contiguous()

    def make_ready(self) -> None:
        """Do nothing; see `Part`."""

    def where(self, row: int) -> str:
        """Name an image; see `Part`."""
        return f"{self.name} image {row}"

    def listing(self) -> Iterable[str]:
        """Name the array; see `Part`."""
        yield f"{self.name} {tuple(self.pixels.shape)}"


def readable_examples(encoded: Iterable[bytes | str]) -> list[Image.Image]:
    """Decode images, leaving out those that cannot be read: whoever needs them will say so."""
    images = []
    for one in encoded:
        with suppress(DocendoError):
            images.append(read_image(one))
    return images


def decode_blocks(
    blocks: Iterable[Sequence[bytes | str | None]],
    count: int,
    where: Callable[[int], str],
    channels: int,
    side: int,
) -> Tensor:
    """Decode encoded images, one block in memory after the other, large ones in threads.

    Args:
        blocks: bytes of image files, or their paths, in the order of the rows.
        count: how many there are in all.
        where: names a row in messages.
        channels: 1 for grey, 3 for RGB.
        side: of the result in pixels.

    Returns:
        (count, side, side, channels), uint8.

    Raises:
        DocendoError: some cannot be read; it counts them and names the first.
    """
    pixels = np.empty((count, side, side, channels), np.uint8)
    bad: list[str] = []

    def decode(row: int, encoded: bytes | str | None) -> str | None:
        try:
            if encoded is None:
                raise DocendoError(f"cannot read {where(row)}: there is no image")
            image = square(read_image(encoded, where(row)), channels, side)
        except DocendoError as error:
            return str(error)
        pixels[row] = np.asarray(image).reshape(pixels.shape[1:])
        return None

    first = 0
    with ThreadPoolExecutor(cpu_count()) as pool:
        for block in blocks:
            rows = range(first, first + len(block))
            first += len(block)
            worth = any(not isinstance(encoded, bytes) or len(encoded) >= _WORTH_A_THREAD for encoded in block)
            results = (pool.map if worth else map)(decode, rows, block)
            bad += [message for message in results if message is not None]
    if bad:
        raise DocendoError(_all_bad(bad, count))
    return torch.from_numpy(pixels)


def _all_bad(messages: list[str], count: int) -> str:
    shown = "; ".join(message.removeprefix("cannot read ") for message in messages[:3])
    more = f"; and {len(messages) - 3} more" if len(messages) > 3 else ""
    return f"cannot read {len(messages)} of {count} images: {shown}{more}. Repair or remove them"

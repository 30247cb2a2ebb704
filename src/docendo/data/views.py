"""Augmentation without hidden randomness: a view id says which view of an image is meant, and nothing else does.

Every class here is a pure function of (images, view ids). Ids are drawn once an epoch (`draw`), so that an image can be
made again, on any device, in any process, from (index, view).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import torch
from torch import Tensor

from docendo.data.images import centre


class Augmentation(Protocol):
    """Makes views of images.

    Attributes:
        count: how many views an image has, ids 0 to count - 1; None where they cannot be listed.
        plain: the id of the view that evaluation sees; -1 where none of those drawn is that one.
    """

    @property
    def count(self) -> int | None:  # noqa: D102
        ...

    @property
    def plain(self) -> int:  # noqa: D102
        ...

    def draw(self, images: int, generator: torch.Generator) -> Tensor:
        """Draw a view id for each of so many images: (images,), int64, on the CPU."""
        ...

    def __call__(self, images: Tensor, view: Tensor, size: int) -> Tensor:
        """Make a view of each image.

        Args:
            images: (B, C, H, W), uint8, at least `size` pixels wide and high.
            view: (B,), int64.
            size: side of the result in pixels.

        Returns:
            (B, C, size, size), uint8.
        """
        ...


@dataclass(frozen=True)
class NoAugmentation:
    """One view: the middle of the image as it is."""

    count: ClassVar[int] = 1
    plain: ClassVar[int] = 0

    def draw(self, images: int, generator: torch.Generator) -> Tensor:
        """Give 0 for each image."""
        return torch.zeros(images, dtype=torch.int64)

    def __call__(self, images: Tensor, view: Tensor, size: int) -> Tensor:
        """Cut out the middle; see `Augmentation`."""
        return centre(images, size)


@dataclass(frozen=True)
class Shift:
    """Pad, cut out a window of the old size, perhaps mirror it: the usual augmentation of small images.

    A view's id is `dy * (2 * pad + 1) + dx`, twice that plus `mirrored` with flips; the window starts at row `dy` and
    column `dx` of the padded image. Padding 4 with flips has 9 x 9 x 2 = 162 views.

    Attributes:
        pad: pixels added on every side.
        flip: whether views are mirrored left to right, half of them.
        pad_mode: what is added: "zero", black pixels as torchvision pads images, or "reflect", the image mirrored at
            its border pixel (then `pad` is smaller than the image).
    """

    pad: int = 4
    flip: bool = True
    pad_mode: Literal["zero", "reflect"] = "zero"

    @property
    def count(self) -> int:
        """How many views there are."""
        return (2 * self.pad + 1) ** 2 * (2 if self.flip else 1)

    @property
    def plain(self) -> int:
        """The id of the image as it is."""
        return (self.pad * (2 * self.pad + 1) + self.pad) * (2 if self.flip else 1)

    def draw(self, images: int, generator: torch.Generator) -> Tensor:
        """Draw a view id for each image, all equally likely."""
        return torch.randint(self.count, (images,), generator=generator)

    def __call__(self, images: Tensor, view: Tensor, size: int) -> Tensor:
        """Make a view of each image; see `Augmentation`."""
        padded = self._padded(centre(images, size).permute(0, 2, 3, 1))
        shift, mirrored = (view // 2, view % 2) if self.flip else (view, None)
        starts = 2 * self.pad + 1
        b, y, x, c = padded.stride()
        windows = padded.as_strided((len(padded), starts, starts, size, size, images.shape[1]), (b, y, x, y, x, c))
        cut = windows[torch.arange(len(padded), device=view.device), shift // starts, shift % starts]
        if mirrored is not None:
            cut = torch.where(mirrored.bool()[:, None, None, None], cut.flip(2), cut)
        return cut.permute(0, 3, 1, 2)

    def _padded(self, images: Tensor) -> Tensor:
        count, height, width, channels = images.shape
        if self.pad_mode == "reflect":
            rows, columns = (self._mirrored_places(extent, images.device) for extent in (height, width))
            return images.index_select(1, rows).index_select(2, columns)
        padded = images.new_zeros(count, height + 2 * self.pad, width + 2 * self.pad, channels)
        padded[:, self.pad : self.pad + height, self.pad : self.pad + width] = images
        return padded

    def _mirrored_places(self, extent: int, device: torch.device) -> Tensor:
        places = torch.arange(-self.pad, extent + self.pad, device=device).abs()
        return extent - 1 - (extent - 1 - places).abs()

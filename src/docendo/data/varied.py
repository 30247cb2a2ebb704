"""Augmentations put together: cut an image, then change what was cut out; of endless views, perhaps a pool."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from docendo.data.seeds import hashed
from docendo.data.views import Augmentation

_IDS = 2**62  # as many as bits allow


class Change(Protocol):
    """Changes images after they were cut to size: a pure function of images and ids."""

    def __call__(self, images: Tensor, ids: Tensor) -> Tensor:
        """Change each image in its own way.

        Args:
            images: (B, C, H, W), uint8.
            ids: (B,), int64, in [0, 2**62); what is drawn for an image is hashed from its id.

        Returns:
            (B, C, H, W), uint8.
        """
        ...


@dataclass(frozen=True)
class Varied:
    """Views that are cut and then changed, without end or so many of each image.

    Each view is made by an id of 62 bits, from which the cut's own view and all else are hashed. Without a pool it is
    the view's id. With one, views have ids 0 to pool - 1, and what each is hashed from is a hash of (index, view): it
    depends on no seed, so that all runs share the views, and two images that have the same id differ.

    Attributes:
        cut: makes images of the right size.
        changes: what is then done to them, in this order.
        pool: how many views an image has, drawn with replacement; None: without end.
    """

    cut: Augmentation
    changes: tuple[Change, ...] = ()
    pool: int | None = None

    @property
    def count(self) -> int | None:
        """How many views an image has, ids 0 to count - 1; None where they cannot be listed."""
        return self.pool

    @property
    def plain(self) -> int:
        """-1: none of those drawn is sure to be the one that evaluation sees."""
        return -1

    def draw(self, images: int, generator: torch.Generator) -> Tensor:
        """Draw a view id for each of so many images: (images,), int64, on the CPU."""
        return torch.randint(self.pool or _IDS, (images,), generator=generator)

    def ids(self, index: Tensor, view: Tensor) -> Tensor:
        """Give the id of 62 bits that makes each view.

        Args:
            index: (B,), int64, the place of each sample in its split.
            view: (B,), int64.

        Returns:
            (B,), int64, in [0, 2**62).
        """
        return view if self.pool is None else hashed(hashed(index, "pool") + view, "view")

    def cut_views(self, ids: Tensor) -> Tensor:
        """Give the cut's own view for each id: (B,), int64."""
        return hashed(ids, "cut") % (self.cut.count or _IDS)

    def changed(self, images: Tensor, ids: Tensor) -> Tensor:
        """Change images (B, C, H, W) that were cut, uint8."""
        for change in self.changes:
            images = change(images, ids)
        return images

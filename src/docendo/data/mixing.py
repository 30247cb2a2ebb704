"""Mixup and CutMix: each image of a batch is mixed with another, and its label with the other's."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from docendo.core import Batch
from docendo.data.seeds import seed_for


class Mix(NamedTuple):
    """What is drawn for a batch.

    Attributes:
        own: the share that each image keeps, in [0, 1].
        box: what the other image gives, as first row, row after the last, first column, column after the last; None
            where all pixels are blended.
    """

    own: float
    box: tuple[int, int, int, int] | None


@dataclass(frozen=True)
class Mixing:
    """Mix every batch, one way or the other: a pure function of the batch, a seed and the batch's number.

    Mixup (Zhang, Cisse, Dauphin, Lopez-Paz, arXiv 1710.09412) blends two images. CutMix (Yun and others, arXiv
    1905.04899) puts a box of one into the other; it may stand out of the image, and the area that is left counts. One
    share is drawn for the whole batch from Beta(alpha, alpha). Where both are asked for, each batch tosses a coin.

    Attributes:
        classes: K, how many there are.
        mixup: alpha of mixup; 0: none.
        cutmix: alpha of CutMix; 0: none.
    """

    classes: int
    mixup: float = 0.0
    cutmix: float = 0.0

    def drawn(self, seed: int, number: int, size: int) -> Mix:
        """Draw how a batch is mixed.

        Args:
            seed: of the epoch.
            number: of the batch in its epoch.
            size: side of the images in pixels.
        """
        random = np.random.default_rng(seed_for(seed, number))
        if self.mixup and (not self.cutmix or random.random() < 0.5):
            return Mix(random.beta(self.mixup, self.mixup), None)
        half = size * math.sqrt(1 - random.beta(self.cutmix, self.cutmix)) / 2
        (top, bottom), (left, right) = (
            (max(round(middle - half), 0), min(round(middle + half), size)) for middle in random.integers(size, size=2)
        )
        return Mix(1 - (bottom - top) * (right - left) / size**2, (top, bottom, left, right))

    def __call__(self, batch: Batch, *, seed: int, number: int, spacing: int = 1) -> Batch:
        """Mix a batch.

        Args:
            batch: normalised images, square, and labels of one class each.
            seed: of the epoch.
            number: of the batch in its epoch.
            spacing: how far down the batch the image stands that an image is mixed with (see `spacing_of`).

        Returns:
            The batch with mixed images, and labels (B, K), float32, shares of classes that add up to 1.
        """
        images = batch.images
        own, box = self.drawn(seed, number, images.shape[-1])
        other = _others(images, spacing)
        if box is None:
            mixed = other.lerp_(images, own)
        else:
            top, bottom, left, right = box
            mixed = images.clone()
            mixed[:, :, top:bottom, left:right] = other[:, :, top:bottom, left:right]
        shares = torch.zeros(len(images), self.classes, device=images.device).scatter_(1, batch.labels[:, None], 1.0)
        return batch._replace(images=mixed, labels=_others(shares, spacing).lerp_(shares, own))


def _others(rows: Tensor, spacing: int) -> Tensor:
    """Give for row i the row i + spacing, or, where that is past the end, row i % spacing."""
    turn = len(rows) % spacing
    parts = (rows[spacing:], rows[turn:spacing], rows[:turn])
    return torch.cat([part for part in parts if len(part)])  # an empty one would decide the layout in memory


def spacing_of(images: int, processes: int) -> int:
    """Say how far apart, in the part of one process, the two images stand that are mixed.

    The batch is cut into stretches of one length, at most half of it, and an image is mixed with the one at its place
    in the next stretch, or in the first; which images these are is chance, as the order is. On 1, 2, 4, 8 and so on
    processes that length is the same power of two: both images belong to one process, and any number of processes
    mixes the same pairs. On others it is a multiple of their number. Where a short last batch has a single image for
    a process, that one stays as it is.

    Args:
        images: in the whole batch.
        processes: n, of which each has every n-th image of the batch.

    >>> [spacing_of(64, n) * n for n in (1, 2, 4, 32)], spacing_of(64, 3) * 3
    ([32, 32, 32, 32], 24)
    """
    odd = processes // (processes & -processes)
    stretch = odd << max((images // (2 * odd)).bit_length() - 1, 0)
    return max(stretch // processes, 1)

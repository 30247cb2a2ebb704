"""How a network wants its images: a teacher may expect another normalisation, or another size, than its student."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Expectation(NamedTuple):
    """What a network's images are made to be.

    Attributes:
        mean: subtracted from each channel of images in [0, 1].
        std: what each channel is then divided by.
        image_size: side in pixels.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    image_size: int


class Adaptation(NamedTuple):
    """Turns images made for one network into what another expects; `network.adaptation` is where that one keeps it.

    Attributes:
        ours: what the images of a run are.
        theirs: what the network was trained on.
    """

    ours: Expectation
    theirs: Expectation

    def __call__(self, images: Tensor) -> Tensor:
        """Adapt images; see `renormalise`."""
        return renormalise(images, self.ours, self.theirs)

    @property
    def matters(self) -> bool:
        """Whether a network could notice: another size, or a mean or deviation that differs by more than 0.01."""
        pairs = zip((*self.ours.mean, *self.ours.std), (*self.theirs.mean, *self.theirs.std), strict=True)
        return self.ours.image_size != self.theirs.image_size or any(abs(a - b) > 0.01 for a, b in pairs)

    def __str__(self) -> str:
        """Say what differs, in words."""
        theirs, ours = (
            f"{size} pixels normalised by mean {_few(mean)}, std {_few(std)}"
            for mean, std, size in (self.theirs, self.ours)
        )
        return f"images of {theirs}, here they are of {ours}"


def _few(numbers: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{n:.4f}" for n in numbers) + ")"


def renormalise(images: Tensor, ours: Expectation, theirs: Expectation) -> Tensor:
    """Turn images made for one network into what another expects.

    Args:
        images: (B, C, H, W), floating point, normalised by `ours`.
        ours: what they are.
        theirs: what is wanted.

    Returns:
        (B, C, H', W'): the same tensor where both expect the same.
    """
    if (ours.mean, ours.std) != (theirs.mean, theirs.std):
        factor, shift = _factor_and_shift(ours, theirs, images.dtype, images.device)
        images = images * factor + shift
    return resized(images, theirs.image_size)


@cache  # to bring numbers to a GPU is to wait for it; recorded steps keep their addresses
def _factor_and_shift(
    ours: Expectation, theirs: Expectation, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    old_mean, old_std, mean, std = (
        torch.tensor(numbers, dtype=dtype, device=device).view(-1, 1, 1)
        for numbers in (ours.mean, ours.std, theirs.mean, theirs.std)
    )
    return old_std / std, (old_mean - mean) / std


def resized(images: Tensor, size: int) -> Tensor:
    """Scale images (B, C, H, W) to so many pixels a side, antialiased as Pillow does where they become smaller."""
    if images.shape[-2:] == (size, size):
        return images
    # Not every device scales 16-bit numbers, and few bits would be left of them.
    wide = images if images.dtype == torch.float64 else images.float()
    return F.interpolate(wide, (size, size), mode="bilinear", antialias=True).to(images.dtype)

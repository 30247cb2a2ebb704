"""RandAugment: a few operations drawn from a list of fourteen, all of one strength."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from docendo.data.operations import OPERATIONS, operated
from docendo.data.seeds import hashed


@dataclass(frozen=True)
class RandAugment:
    """Do so many operations to each image, one after the other (Cubuk, Zoph, Shlens, Le, arXiv 1909.13719).

    Each is drawn anew, all with equal chance; those that have two directions go either way. Operations and strengths
    are those of `torchvision.transforms.RandAugment(number, magnitude)`, which fills what is moved in with black.

    Attributes:
        number: of operations, at least 1.
        magnitude: strength, from 0 to 30. The paper's code and timm count to 10: their 9 is 27 here.
    """

    number: int = 2
    magnitude: int = 9

    def __call__(self, images: Tensor, ids: Tensor) -> Tensor:
        """Operate on each image; see `docendo.data.varied.Change`."""
        for step in range(self.number):
            images = operated(images, *self.drawn(ids, step), self.magnitude)
        return images

    def drawn(self, ids: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Say what is done to each image.

        Args:
            ids: (B,), int64.
            step: which of the operations, counted from 0.

        Returns:
            (B,), int64: the place in `OPERATIONS`; and (B,), bool: whether in the negative direction.
        """
        drawn = hashed(ids, "randaugment", step)
        return drawn % len(OPERATIONS), torch.div(drawn, len(OPERATIONS), rounding_mode="floor") % 2 == 1

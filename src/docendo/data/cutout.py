"""Cutout: a square of each image is hidden."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from docendo.data.seeds import hashed


@dataclass(frozen=True)
class Cutout:
    """Hide a square, which may stand out of the image (DeVries and Taylor, arXiv 1708.04552).

    Its centre is any pixel with equal chance, so that less is hidden near the border. Their code puts zeros after
    normalisation, where zero is the mean colour; here that colour itself is put, to the nearest grey level, so that
    a network that expects another normalisation sees the same image.

    Attributes:
        side: of the square, in pixels.
        colour: what is put there, a grey level for each channel, 0 to 255.
    """

    side: int
    colour: tuple[int, ...]

    def __call__(self, images: Tensor, ids: Tensor) -> Tensor:
        """Hide a square of each image; see `docendo.data.varied.Change`."""
        rows, columns = (
            self._hidden(ids, name, extent) for name, extent in (("row", images.shape[2]), ("column", images.shape[3]))
        )
        hidden = rows[:, None, :, None] & columns[:, None, None, :]
        return torch.where(hidden, _colour(self.colour, images.device), images)

    def _hidden(self, ids: Tensor, name: str, extent: int) -> Tensor:
        """Say which rows, or columns, the squares cover: (B, extent), bool."""
        first = hashed(ids, "cutout", name) % extent - self.side // 2
        places = torch.arange(extent, device=ids.device) - first[:, None]
        return (places >= 0) & (places < self.side)


@lru_cache(maxsize=8)
def _colour(levels: tuple[int, ...], device: torch.device) -> Tensor:
    return torch.tensor(levels, dtype=torch.uint8, device=device).view(-1, 1, 1)

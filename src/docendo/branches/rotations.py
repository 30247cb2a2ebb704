"""Images turned by quarters, and heads that tell which belong together: the self-supervision of SSKD."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from docendo.branches.widths import pooled_width
from docendo.core import Batch

QUARTERS = 4


def with_rotations(batch: Batch) -> Batch:
    """Give a batch with each image followed by its rotations by one, two and three quarters; labels go with them."""
    images = torch.stack([batch.images.rot90(k, dims=(2, 3)) for k in range(QUARTERS)], dim=1).flatten(0, 1)
    if batch.images.is_contiguous(memory_format=torch.channels_last):
        images = images.contiguous(memory_format=torch.channels_last)
    labels, index, view = (row.repeat_interleave(QUARTERS, dim=0) for row in (batch.labels, batch.index, batch.view))
    return Batch(images, labels, index, view, batch.progress)


def upright(rows: Tensor) -> Tensor:
    """Give the rows of the images that are not turned, (B, ...), of all rows (4 * B, ...)."""
    return rows[::QUARTERS]


def turned(rows: Tensor) -> Tensor:
    """Give the rows of the images that are turned, (B, 3, ...), of all rows (4 * B, ...)."""
    return rows.reshape(-1, QUARTERS, *rows.shape[1:])[:, 1:]


class RotationHeads(nn.ModuleDict):
    """A head for a teacher and one for a student, from pooled features to as many numbers, by two layers each.

    Args:
        teacher: the staged network that teaches; only the width of its pooled features is looked at.
        student: the one that learns; likewise.
    """

    def __init__(self, teacher: Any, student: Any) -> None:
        super().__init__()
        for name, network in (("teacher", teacher), ("student", student)):
            width = pooled_width(network)
            self[name] = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))

    def forward(self, whose: str, pooled: Tensor) -> Tensor:
        """Give the embeddings (B, D) of pooled features (B, D) by the head of "teacher" or "student"."""
        embeddings: Tensor = self[whose](pooled)
        return embeddings

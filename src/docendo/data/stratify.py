"""Splits that give every class its share."""

from __future__ import annotations

import torch
from torch import Tensor


def hold_out(labels: Tensor, rows: Tensor, fraction: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Set a fraction of every class aside.

    Args:
        labels: (N,), int64, of all images.
        rows: (M,), int64: the images to choose from, in ascending order; at least 2 of each class that they hold.
        fraction: in (0, 1).
        generator: decides which.

    Returns:
        The rows that stay and the rows set aside, each in ascending order. Of n images of a class the nearest whole
        number to `fraction * n` is set aside, at least 1 and at most n - 1.
    """
    aside = []
    for own in _by_class(labels, rows):
        share = min(max(round(fraction * len(own)), 1), len(own) - 1)
        aside.append(own[torch.randperm(len(own), generator=generator)[:share]])
    taken = torch.cat(aside).sort().values
    return rows[~torch.isin(rows, taken)], taken


def subset(labels: Tensor, rows: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Choose so many images, of every class its share and at least one.

    Args:
        labels: (N,), int64, of all images.
        rows: (M,), int64: the images to choose from, in ascending order.
        size: how many to choose, from the number of classes in `rows` to M.
        generator: decides which.

    Returns:
        (size,), int64, in ascending order.
    """
    classes = _by_class(labels, rows)
    shares = [size * len(own) / len(rows) for own in classes]
    counts = [max(int(share), 1) for share in shares]
    while sum(counts) != size:
        step = 1 if sum(counts) < size else -1
        # The class that is furthest from its share gives or takes, but none gives its last image.
        nearest = max(
            (k for k in range(len(classes)) if 1 <= counts[k] + step <= len(classes[k])),
            key=lambda k: step * (shares[k] - counts[k]),
        )
        counts[nearest] += step
    chosen = [
        own[torch.randperm(len(own), generator=generator)[:count]] for own, count in zip(classes, counts, strict=True)
    ]
    return torch.cat(chosen).sort().values


def _by_class(labels: Tensor, rows: Tensor) -> list[Tensor]:
    own = labels[rows]
    ends = torch.bincount(own).cumsum(0)[:-1]
    return [some for some in rows[own.argsort(stable=True)].tensor_split(ends) if len(some)]

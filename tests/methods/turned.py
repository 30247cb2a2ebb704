"""The losses of SSKD once more, plainly: batches are images, each followed by its three rotations."""

from collections.abc import Sequence

import torch
from torch import Tensor


def upright(rows: Tensor) -> Tensor:
    return torch.stack([row for i, row in enumerate(rows) if i % 4 == 0])


def turned(rows: Tensor) -> Tensor:
    return torch.stack([row for i, row in enumerate(rows) if i % 4])


def contrast(z: Tensor) -> Tensor:
    """Cross-entropy of each turned image's cosines with the upright ones, the own one being right."""
    return -torch.stack([row.log_softmax(0)[i // 3] for i, row in enumerate(cosines(z))]).mean()


def alike(learns: Tensor, teaches: Tensor, T: float, keep: float) -> Tensor:
    """Divergence of whom a turned image resembles, of those that the teacher gets least wrong."""
    s, t = cosines(learns), cosines(teaches)
    kept = least_wrong(t, [i // 3 for i in range(len(t))], keep)
    q, p = (t[kept] / T).softmax(1), (s[kept] / T).softmax(1)
    return T * T * (q * (q / p).log()).sum(1).mean()


def least_wrong(scores: Tensor, targets: Sequence[int], keep: float) -> list[int]:
    """All rows that score their target highest, and that share of the others which have least above it."""
    above = [sum(bool(score > row[y]) for score in row) for row, y in zip(scores, targets, strict=True)]
    right = [i for i, n in enumerate(above) if n == 0]
    wrong = sorted((i for i, n in enumerate(above) if n), key=lambda i: above[i])
    return right + wrong[: int(keep * len(wrong))]


def cosines(z: Tensor) -> Tensor:
    a, b = turned(z), upright(z)
    return torch.stack([torch.stack([x @ y / (x @ x).sqrt() / (y @ y).sqrt() for y in b]) for x in a])

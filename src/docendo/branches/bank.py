"""Embeddings of two networks, and a bank of them for all training images, as in CRD (Tian et al., ICLR 2020)."""

from __future__ import annotations

import math
from functools import cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from docendo.branches.widths import pooled_width
from docendo.errors import DocendoError
from docendo.splitmix import scattered

UNKNOWN = -1
"""The label of an image that was not seen yet: no class, and at first the rows of the bank are random anyway."""


class Embeddings(nn.Module):
    """A linear layer on each of two networks' pooled features, so that what they say can be compared.

    Args:
        student: a staged network; of both, only the width of the pooled features is read.
        teacher: a staged network.
        dimensions: D, the length of an embedding.
    """

    def __init__(self, student: Any, teacher: Any, dimensions: int) -> None:
        super().__init__()
        self.student = nn.Linear(pooled_width(student), dimensions)
        self.teacher = nn.Linear(pooled_width(teacher), dimensions)

    def forward(self, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        """Give the embeddings (B, D) of the student's and of the teacher's pooled features."""
        return self.student(student), self.teacher(teacher)


class Rows(NamedTuple):
    """What the bank has for a batch from one network: constants.

    Attributes:
        positive: (B, D), the rows of the same images, of length 1.
        every: (M, D), the rows of all images.
        drawn: (B, N), int64, which of them, of other classes, each image is compared with.
        images: M, how many images the bank has.
        log_normalization: log Z, see `Bank`.
    """

    positive: Tensor
    every: Tensor
    drawn: Tensor
    images: int
    log_normalization: float


class Bank(nn.Module):
    """The embeddings of all training images by two networks, as these last saw them.

    All that it knows is in its buffers, and what it draws is a function of them: a run that goes on from a checkpoint
    draws what it would have drawn, and processes that show it the same batch have the same bank.

    Rows start as random directions. The released code measures Z once, on its first batch: the mean of exp(score) over
    all pairs, times M. Here it is M times the mean over all directions (`log_mean_score`).

    Args:
        dimensions: D.
        negatives: how many rows of other classes are drawn for an image, with replacement; as many as there are images
            if these are fewer.
        momentum: how much of a row stays when its image is seen again, in [0, 1].
        temperature: T, of the scores whose Z is given.
    """

    student: Tensor
    teacher: Tensor
    labels: Tensor
    steps: Tensor
    seed: Tensor

    def __init__(self, dimensions: int, negatives: int, momentum: float, temperature: float) -> None:
        super().__init__()
        self.dimensions, self.negatives, self.momentum = dimensions, negatives, momentum
        self.temperature = temperature
        self.register_buffer("seed", torch.randint(2**62, ()))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("student", torch.zeros(0, dimensions))
        self.register_buffer("teacher", torch.zeros(0, dimensions))
        self.register_buffer("labels", torch.zeros(0, dtype=torch.int64))

    def fit_to(self, images: int) -> None:
        """Begin anew, with a row for each of so many images."""
        generator = torch.Generator().manual_seed(int(self.seed))
        place = self.seed.device
        for name in ("student", "teacher"):
            rows = torch.randn(images, self.dimensions, generator=generator)
            setattr(self, name, F.normalize(rows).to(place))
        self.labels = torch.full((images,), UNKNOWN, device=place)
        self.steps = torch.zeros_like(self.steps)

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor, index: Tensor) -> tuple[Rows, Rows]:
        """Give the rows of a batch and rows drawn to compare with, then, in training, renew the rows of the batch.

        Args:
            student: (B, D), the student's embeddings.
            teacher: (B, D), the teacher's.
            labels: (B,), int64.
            index: (B,), int64, which training images these are.

        Returns:
            Rows of the student's bank, and of the teacher's for the same images.

        Raises:
            DocendoError: if nobody said how many images there are.
        """
        images = len(self.labels)
        if not images:
            raise DocendoError("the bank of crd has no rows: call fit_to(number of training images) first")
        if self.training:
            self.labels[index] = labels
        drawn = self._draw(labels, min(self.negatives, images))
        log_z = math.log(images) + log_mean_score(self.dimensions, self.temperature)
        rows = (
            # Copies: the rows of the batch are renewed before the loss is learned from.
            Rows(self.student[index], self.student.clone(), drawn, images, log_z),
            Rows(self.teacher[index], self.teacher.clone(), drawn, images, log_z),
        )
        if self.training:
            self._renew(self.student, student, index)
            self._renew(self.teacher, teacher, index)
            self.steps += 1
        return rows

    @torch.no_grad()
    def _renew(self, bank: Tensor, embeddings: Tensor, index: Tensor) -> None:
        seen = F.normalize(embeddings.to(bank.dtype))
        bank[index] = F.normalize(seen.lerp(bank[index], self.momentum))

    def _draw(self, labels: Tensor, number: int) -> Tensor:
        """Give (B, number) images for images of these labels, each of all of other labels with equal chance."""
        images = len(self.labels)
        by_label = self.labels.argsort(stable=True)
        known = self.labels[by_label]
        first = torch.searchsorted(known, labels)
        same = torch.searchsorted(known, labels, right=True) - first
        same = same.where(same < images, 0)  # where there is but one class, any image
        places = torch.arange(len(labels) * number, device=labels.device).view(-1, number)
        places = _mixed(_mixed(self.seed + self.steps) + places) % (images - same)[:, None]
        return by_label[places + same[:, None] * (places >= first[:, None])]


@cache
def log_mean_score(dimensions: int, temperature: float) -> float:
    """Logarithm of the mean of exp(u . v / T) over all directions u; for large D nearly 1 / (2 D T^2).

    The mean is 0F1(; D / 2; 1 / (4 T^2)), what a von Mises-Fisher distribution is normalised by.

    Args:
        dimensions: D, of u and v.
        temperature: T, above 0.

    >>> round(log_mean_score(128, 0.07), 3), round(log_mean_score(1, 2.0), 6) == round(math.log(math.cosh(0.5)), 6)
    (0.792, True)
    """
    half, x = dimensions / 2, -2 * math.log(2 * temperature)
    k = torch.arange(100 + round(2 / temperature), dtype=torch.float64)  # the largest term is before 1 / (2 T)
    rising = torch.lgamma(half + k) - math.lgamma(half)
    return float(torch.logsumexp(k * x - torch.lgamma(k + 1) - rising, dim=0))


def _mixed(x: Tensor) -> Tensor:
    """Scatter whole numbers over [0, 2^63)."""
    return scattered(x) & 2**63 - 1

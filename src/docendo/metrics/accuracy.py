"""How often a network is right."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from docendo.core import Batch

BATCH = 250
"""Images a batch in every evaluation, so that a repeated one rounds alike."""


class Images(Protocol):
    """A split of a data set, as evaluation sees it."""

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Give all images once, not augmented."""
        ...


class Accuracy(NamedTuple):
    """Fractions of images, in [0, 1].

    Attributes:
        top1: whose most likely class is the right one.
        top5: whose right class is among the five most likely, or among all where there are fewer.
        images: how many were seen.
    """

    top1: float
    top5: float
    images: int


@torch.no_grad()
def evaluate(network: nn.Module, images: Images, classes: int) -> Accuracy:
    """Measure a network in evaluation mode on all images of a split; its mode afterwards is as before.

    Args:
        network: images to an output with `logits`.
        images: the split, on the network's device.
        classes: number of classes K.
    """
    dtype = next(network.parameters()).dtype
    training = network.training
    network.eval()
    measured = accuracies(lambda batch: {"": network(batch.images.to(dtype)).logits}, images, classes)
    network.train(training)
    return measured[""]


@torch.no_grad()
def accuracies(
    answers: Callable[[Batch], Mapping[str, Tensor]],
    images: Images,
    classes: int,
    *,
    total: Callable[[Tensor], Tensor] = lambda counts: counts,
) -> dict[str, Accuracy]:
    """Measure several answers at once on all images of a split.

    Args:
        answers: a batch to logits (B, K) by name, always the same names.
        images: the split, or one process's part of it, one image or more.
        classes: number of classes K.
        total: gives the sum of counts over the processes that share the split.
    """
    right: dict[str, Tensor] = {}
    seen = 0
    for batch in images.batches(BATCH):
        for name, logits in answers(batch).items():
            hits = logits.topk(min(5, classes), dim=1).indices == batch.labels[:, None]
            right[name] = right.get(name, 0) + torch.stack([hits[:, 0].sum(), hits.sum()])
        seen += len(batch.labels)
    counted = {
        name: total(torch.stack([*hits, torch.full_like(hits[0], seen)])).tolist() for name, hits in right.items()
    }
    return {name: Accuracy(top1 / count, top5 / count, count) for name, (top1, top5, count) in counted.items()}


def near_chance(accuracy: Accuracy, classes: int) -> bool:
    """Say whether an accuracy cannot be told from guessing: within three standard errors of 1/K.

    >>> near_chance(Accuracy(0.11, 0.5, 360), 10), near_chance(Accuracy(0.4, 0.9, 360), 10)
    (True, False)
    """
    chance = 1 / classes
    return accuracy.top1 <= chance + 3 * math.sqrt(chance * (1 - chance) / accuracy.images)

"""How often a network is right."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple, Protocol

import torch
from torch import nn

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
    first = next(network.parameters())
    right = torch.zeros(2, dtype=torch.int64, device=first.device)
    seen = 0
    training = network.training
    network.eval()
    for batch in images.batches(BATCH):
        logits = network(batch.images.to(first.dtype)).logits
        hits = logits.topk(min(5, classes), dim=1).indices == batch.labels[:, None]
        right += torch.stack([hits[:, 0].sum(), hits.sum()])
        seen += len(batch.labels)
    network.train(training)
    top1, top5 = right.tolist()
    return Accuracy(top1 / seen, top5 / seen, seen)


def near_chance(accuracy: Accuracy, classes: int) -> bool:
    """Say whether an accuracy cannot be told from guessing: within three standard errors of 1/K.

    >>> near_chance(Accuracy(0.11, 0.5, 360), 10), near_chance(Accuracy(0.4, 0.9, 360), 10)
    (True, False)
    """
    chance = 1 / classes
    return accuracy.top1 <= chance + 3 * math.sqrt(chance * (1 - chance) / accuracy.images)

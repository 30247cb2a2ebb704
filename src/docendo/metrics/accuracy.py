"""How often a network is right."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from itertools import zip_longest
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from docendo.core import Batch
from docendo.errors import DocendoError
from docendo.metrics.asking import asking

BATCH = 250
"""Images a batch in every evaluation, so that a repeated one rounds alike."""


class Images(Protocol):
    """A split of a data set, as evaluation sees it."""

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Give all images once, not augmented."""
        ...


def in_step(images: Images, others: Images | None) -> Iterator[tuple[Batch, Batch]]:
    """Give a split batch by batch as two networks expect it.

    Args:
        images: as the first expects it.
        others: the same split as the second expects it; None: it expects the same, and images are made once.

    Raises:
        DocendoError: if they are not the same split.
    """
    if others is None:
        yield from ((batch, batch) for batch in images.batches(BATCH))
        return
    for batch, other in zip_longest(images.batches(BATCH), others.batches(BATCH)):
        if batch is None or other is None or not torch.equal(batch.labels, other.labels):
            raise DocendoError("two networks are compared on splits that differ: give both the same images")
        yield batch, other


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


def evaluate(network: nn.Module, images: Images, classes: int) -> Accuracy:
    """Measure a network in evaluation mode on all images of a split; its mode afterwards is as before.

    Args:
        network: images to an output with `logits`.
        images: the split, on the network's device.
        classes: number of classes K.
    """
    with asking(network) as ask:
        return accuracies(lambda batch: {"": ask(batch.images).logits}, images, classes)[""]


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
            right[name] = right.get(name, 0) + _hits(logits, batch.labels, classes)
        seen += len(batch.labels)
    counted = {
        name: total(torch.stack([*hits, torch.full_like(hits[0], seen)])).tolist() for name, hits in right.items()
    }
    return {name: Accuracy(top1 / count, top5 / count, count) for name, (top1, top5, count) in counted.items()}


def accuracy_of(logits: Tensor, labels: Tensor) -> Accuracy:
    """Give how often logits are right.

    Args:
        logits: (N, K), N at least 1.
        labels: (N,), int64.

    >>> accuracy_of(torch.tensor([[2.0, 1.0], [0.0, 1.0]]), torch.tensor([0, 0]))
    Accuracy(top1=0.5, top5=1.0, images=2)
    """
    top1, top5 = _hits(logits, labels, logits.shape[1]).tolist()
    return Accuracy(top1 / len(labels), top5 / len(labels), len(labels))


def near_chance(accuracy: Accuracy, classes: int) -> bool:
    """Say whether an accuracy cannot be told from guessing: within three standard errors of 1/K.

    >>> near_chance(Accuracy(0.11, 0.5, 360), 10), near_chance(Accuracy(0.4, 0.9, 360), 10)
    (True, False)
    """
    chance = 1 / classes
    return accuracy.top1 <= chance + 3 * math.sqrt(chance * (1 - chance) / accuracy.images)


def _hits(logits: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Count the images whose label is the most likely class, and those whose label is among the five most likely."""
    hits = logits.topk(min(5, classes), dim=1).indices == labels[:, None]
    return torch.stack([hits[:, 0].sum(), hits.sum()])

"""Which classes a network tells apart, and which it gains and loses against another."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from docendo.metrics.inputs import both, with_labels


class ConfusedPair(NamedTuple):
    """Two classes that are taken for each other.

    Attributes:
        first: the class that is more often taken for the other.
        second: the other class.
        first_as_second: images of the first taken for the second.
        second_as_first: images of the second taken for the first.
    """

    first: int
    second: int
    first_as_second: int
    second_as_first: int


class ClassChanges(NamedTuple):
    """What changes from one network to another, class by class.

    Attributes:
        images: of each class.
        gained: those of them that are wrong before and right after.
        lost: those of them that are right before and wrong after.
    """

    images: tuple[int, ...]
    gained: tuple[int, ...]
    lost: tuple[int, ...]


def confusion(logits: Tensor, labels: Tensor) -> Tensor:
    """Count images by what they are and what they are taken for.

    Args:
        logits: (N, K), any floating-point type; of equals the first class counts.
        labels: (N,), int64, in [0, K).

    Returns:
        (K, K), int64, on the CPU: a row for each label, a column for each prediction.

    Raises:
        DocendoError: if they do not fit each other, or a logit is not finite.

    >>> confusion(torch.tensor([[2.0, 1.0], [2.0, 1.0], [0.0, 1.0]]), torch.tensor([0, 1, 1])).tolist()
    [[1, 0], [1, 1]]
    """
    log_p, labels = with_labels("confusion", logits, labels)
    classes = log_p.shape[1]
    return (labels * classes + log_p.argmax(dim=1)).bincount(minlength=classes**2).reshape(classes, classes)


def class_accuracy(counts: Tensor) -> tuple[float | None, ...]:
    """Give the fraction of each class's images that are right.

    Args:
        counts: (K, K), as `confusion` gives them.

    Returns:
        A fraction for each class, None where it has no images.

    >>> class_accuracy(torch.tensor([[3, 1], [0, 0]]))
    (0.75, None)
    """
    right, images = counts.diagonal().tolist(), counts.sum(dim=1).tolist()
    return tuple(hits / count if count else None for hits, count in zip(right, images, strict=True))


def confused_pairs(counts: Tensor, most: int = 10) -> tuple[ConfusedPair, ...]:
    """Give the pairs of classes that are taken for each other most often, by the number of images in both directions.

    Args:
        counts: (K, K), as `confusion` gives them.
        most: how many pairs at most, 1 or more.

    Returns:
        Pairs in descending order, equals by class; only those that are confused at all.

    >>> confused_pairs(torch.tensor([[9, 1, 0], [2, 7, 0], [0, 0, 5]]))
    (ConfusedPair(first=1, second=0, first_as_second=2, second_as_first=1),)
    """
    either = (counts + counts.T).triu(diagonal=1)
    first, second = (places.tolist() for places in either.nonzero(as_tuple=True))
    ordered = sorted(zip(first, second, strict=True), key=lambda pair: -int(either[pair]))
    found = []
    for a, b in ordered[:most]:
        a, b = (a, b) if counts[a, b] >= counts[b, a] else (b, a)
        found.append(ConfusedPair(a, b, int(counts[a, b]), int(counts[b, a])))
    return tuple(found)


def class_changes(before: Tensor, after: Tensor, labels: Tensor) -> ClassChanges:
    """Count the images that a second network gains and loses against a first, class by class.

    The accuracy of a class changes by (gained - lost) / images; that small sums can hide many changes is the point.

    Args:
        before: (N, K), logits of the first network, such as a baseline or a teacher.
        after: (N, K), logits of the second for the same images.
        labels: (N,), int64, in [0, K).

    Raises:
        DocendoError: if they do not fit each other, or a logit is not finite.

    >>> sure = torch.eye(2)
    >>> class_changes(sure[[0, 1, 1]], sure[[1, 1, 0]], torch.tensor([1, 1, 1]))
    ClassChanges(images=(0, 3), gained=(0, 1), lost=(0, 1))
    """
    was, now = both("class_changes", before, after)
    _, labels = with_labels("class_changes", before, labels)
    was_right, is_right = (log_p.argmax(dim=1) == labels for log_p in (was, now))
    images, gained, lost = (
        tuple(labels[chosen].bincount(minlength=was.shape[1]).tolist())
        for chosen in (torch.ones_like(was_right), ~was_right & is_right, was_right & ~is_right)
    )
    return ClassChanges(images, gained, lost)

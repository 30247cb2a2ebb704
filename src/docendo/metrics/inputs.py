"""What measures do with logits and labels first."""

from __future__ import annotations

import torch
from torch import Tensor

from docendo.errors import DocendoError


def log_probabilities(measure: str, logits: Tensor) -> Tensor:
    """Give log softmax(z) in float64 on the CPU, so that logits of any size and type are measured alike.

    Args:
        measure: the public name, for the message.
        logits: (N, K), before the softmax, N at least 1.

    Returns:
        (N, K), float64, at most 0, finite, without a gradient.

    Raises:
        DocendoError: if the shape is another, or a logit is infinite or no number.

    >>> log_probabilities("brier_score", torch.tensor([[1e4, -1e4]], dtype=torch.float16)).tolist()
    [[0.0, -20000.0]]
    """
    if logits.dim() != 2 or not logits.numel():
        raise DocendoError(
            f"{measure} needs logits (N, K) of one image or more, got {tuple(logits.shape)}: give a row for each image"
        )
    z = logits.detach().to("cpu", torch.float64)
    wrong = int((~z.isfinite()).any(dim=1).sum())
    if wrong:
        raise DocendoError(
            f"{measure} needs finite logits, got infinite ones or NaN for {wrong} of {len(z)} images: "
            "the network has diverged, or they are too large for half precision"
        )
    return z.log_softmax(dim=1)


def with_labels(measure: str, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Give `log_probabilities` and the labels on the CPU.

    Args:
        measure: the public name, for the message.
        logits: (N, K).
        labels: (N,), int64, in [0, K).

    Raises:
        DocendoError: as above, or if the labels are not those of N images and K classes.
    """
    log_p, labels = log_probabilities(measure, logits), labels.detach().cpu()
    if labels.shape != log_p.shape[:1]:
        raise DocendoError(
            f"{measure} compares logits {tuple(log_p.shape)} with labels {tuple(labels.shape)}: "
            "both are needed of the same images"
        )
    if not 0 <= int(labels.min()) <= int(labels.max()) < log_p.shape[1]:
        raise DocendoError(
            f"{measure} got labels from {int(labels.min())} to {int(labels.max())}, but logits of "
            f"{log_p.shape[1]} classes: both need the same classes, counted from 0"
        )
    return log_p, labels


def both(measure: str, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Give `log_probabilities` of two networks for the same images.

    Args:
        measure: the public name, for the message.
        first: (N, K), logits.
        second: (N, K), logits.

    Raises:
        DocendoError: as above, or if the shapes differ.
    """
    if first.shape != second.shape:
        raise DocendoError(
            f"{measure} compares logits {tuple(first.shape)} with {tuple(second.shape)}: "
            "both networks need the same images and the same classes"
        )
    return log_probabilities(measure, first), log_probabilities(measure, second)

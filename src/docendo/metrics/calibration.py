"""Whether a network is as often right as it is sure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from docendo.errors import DocendoError
from docendo.metrics.inputs import with_labels


class Bin(NamedTuple):
    """A bar of a reliability diagram.

    Attributes:
        lower: its images' confidence is above this.
        upper: and at most this.
        images: how many it has.
        confidence: their mean confidence, in [0, 1]; None where there are none.
        accuracy: the fraction of them that are right; None where there are none.
    """

    lower: float
    upper: float
    images: int
    confidence: float | None
    accuracy: float | None


def reliability(logits: Tensor, labels: Tensor, bins: int = 15) -> tuple[Bin, ...]:
    """Sort images by confidence, the probability of the most likely class, into bins of equal width.

    Args:
        logits: (N, K), any floating-point type; computed in float64.
        labels: (N,), int64, in [0, K).
        bins: how many, 1 or more.

    Returns:
        The bins from confidence 0 to 1, empty ones too.

    Raises:
        DocendoError: if logits and labels do not fit each other, a logit is not finite, or there is no bin.

    References:
        Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks, ICML 2017, arXiv 1706.04599, section 2.

    >>> logits = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4]]).log()
    >>> [(bar.images, bar.accuracy) for bar in reliability(logits, torch.tensor([0, 1, 0]), bins=4)]
    [(0, None), (0, None), (1, 1.0), (2, 0.5)]
    """
    if bins < 1:
        raise DocendoError(f"a reliability diagram of {bins} bins has no place for images: give 1 or more, 15 is usual")
    log_p, labels = with_labels("reliability", logits, labels)
    best, predicted = log_p.max(dim=1)
    confidence, right = best.exp(), (predicted == labels).double()
    edges = torch.linspace(0, 1, bins + 1, dtype=torch.float64)
    place = torch.bucketize(confidence, edges[1:-1])
    counts, sure, hits = (
        torch.zeros(bins, dtype=torch.float64).index_add_(0, place, values).tolist()
        for values in (torch.ones_like(confidence), confidence, right)
    )
    found = []
    for lower, upper, count, s, h in zip(edges[:-1].tolist(), edges[1:].tolist(), counts, sure, hits, strict=True):
        means = (s / count, h / count) if count else (None, None)
        found.append(Bin(lower, upper, int(count), *means))
    return tuple(found)


def calibration_error(bins: Sequence[Bin]) -> float:
    """Difference between accuracy and confidence in a bin, mean over the images: the expected calibration error.

    ECE = sum_b n_b / N * |accuracy_b - confidence_b|

    This is the error of the top class, with bins of equal width and absolute differences (the L1 norm), as most papers
    give it; with `reliability`'s 15 bins it is theirs. It is above 0 by chance also where a network is calibrated, the
    more so the fewer images there are.

    Args:
        bins: as `reliability` gives them, with one image or more.

    Returns:
        In [0, 1].

    Raises:
        DocendoError: if the bins have no image.

    References:
        Naeini, Cooper, Hauskrecht: Obtaining Well Calibrated Probabilities Using Bayesian Binning, AAAI 2015.
        Guo et al., arXiv 1706.04599, equation 3.

    >>> logits = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4]]).log()
    >>> round(calibration_error(reliability(logits, torch.tensor([0, 1, 0]))), 4)  # (2 * 0.4 + 0.4) / 3
    0.4
    """
    images = sum(bar.images for bar in bins)
    if not images:
        raise DocendoError("the calibration error of bins without images is not defined: give those of one or more")
    return (
        sum(
            bar.images * abs(bar.accuracy - bar.confidence)
            for bar in bins
            if bar.accuracy is not None and bar.confidence is not None
        )
        / images
    )

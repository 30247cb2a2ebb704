"""Losses that keep a network from being sure."""

from __future__ import annotations

import math
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from docendo.errors import DocendoError
from docendo.losses.inputs import at_least_float32, full_precision, one_class


@full_precision
def top_score_difference(
    logits: Tensor, k: int = 5, *, labels: Tensor | None = None, divisor: Literal["k-1", "k"] = "k-1"
) -> Tensor:
    """Top score over the mean of the next k - 1, mean over the batch: what a tolerant teacher keeps small.

    TSD = mean_b( f_1 - 1/(k-1) * sum_{i=2..k} f_i ),   f = softmax(z_b), sorted in descending order

    Which classes are the top k is a constant; the gradient flows through all k probabilities.

    Args:
        logits: (B, C), before the softmax, no temperature; half precision is computed in float32.
        k: number of plausible classes of an image, the first included, in [2, C].
        labels: (B,), int64: the first is the probability of the label and the others are the largest of the rest.
            Without, the first is the largest, right or wrong.
        divisor: what the sum of the others is divided by; "k" is not the mean, but is in released code.

    Returns:
        A scalar, in [0, 1]; 0 where all are alike, 1 where one class has everything. With labels it is negative
        where others score higher.

    Raises:
        DocendoError: if k is not in [2, C], or labels are shares of classes, as of mixed images.

    References:
        Yang, Xie, Qiao, Yuille: Training Deep Neural Networks in Generations, AAAI 2019, arXiv 1805.05551.

    Deviations: none known; the formula is as restated by a reader and by follow-up work (zzysay/KD4NRE), whose code
    divides by k.

    >>> import torch
    >>> z = torch.tensor([[0.5, 0.25, 0.125, 0.125]]).log()
    >>> top_score_difference(z, 3).item()  # 0.5 - (0.25 + 0.125) / 2
    0.3125
    >>> top_score_difference(z, 2, labels=torch.tensor([1])).item()
    -0.25
    """
    classes = logits.shape[1]
    if not 2 <= k <= classes:
        raise DocendoError(
            f"the top score difference looks at K={k} classes, but there are {classes}: set K from 2 to {classes}"
        )
    scores = at_least_float32(logits).softmax(dim=1)
    if labels is None:
        best = scores.topk(k, dim=1).values
        first, others = best[:, 0], best[:, 1:]
    else:
        labels = one_class("top_score_difference", labels)
        first = scores.gather(1, labels[:, None])[:, 0]
        others = scores.scatter(1, labels[:, None], -1.0).topk(k - 1, dim=1).values
    return (first - others.sum(dim=1) / (k - 1 if divisor == "k-1" else k)).mean()


@full_precision
def uniform_divergence(logits: Tensor) -> Tensor:
    """KL divergence from the uniform distribution, summed over classes, mean over the batch: label smoothing's term.

    KL(u || f) = mean_b( -log C - 1/C * sum_c log f_c ),   f = softmax(z_b), u_c = 1/C

    eta * CE + (1 - eta) * KL(u || f) has the gradient of cross-entropy with labels smoothed by epsilon = 1 - eta.

    Args:
        logits: (B, C); half precision is computed in float32.

    Returns:
        A scalar, at least 0, and 0 where all classes are alike.

    References:
        Szegedy et al.: Rethinking the Inception Architecture, arXiv 1512.00567; as a divergence in Pereyra et al.,
        arXiv 1701.06548.

    >>> import torch
    >>> round(uniform_divergence(torch.tensor([[0.75, 0.25]]).log()).item(), 4)  # log(4/3) / 2
    0.1438
    """
    log_f = F.log_softmax(at_least_float32(logits), dim=1)
    return -log_f.mean(dim=1).mean() - math.log(logits.shape[1])


@full_precision
def confidence_penalty(logits: Tensor) -> Tensor:
    """Negative entropy of the output, summed over classes, mean over the batch: large where the network is sure.

    -H(f) = mean_b sum_c f_c * log f_c,   f = softmax(z_b)

    Args:
        logits: (B, C); half precision is computed in float32.

    Returns:
        A scalar in [-log C, 0].

    References:
        Pereyra, Tucker, Chorowski, Kaiser, Hinton: Regularizing Neural Networks by Penalizing Confident Output
        Distributions, arXiv 1701.06548.

    >>> import torch
    >>> round(confidence_penalty(torch.zeros(2, 10)).item(), 4)  # -log 10
    -2.3026
    """
    log_f = F.log_softmax(at_least_float32(logits), dim=1)
    return (log_f.exp() * log_f).sum(dim=1).mean()

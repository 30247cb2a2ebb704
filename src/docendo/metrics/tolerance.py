"""How much a network leaves to the classes after its first."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from docendo.errors import DocendoError
from docendo.metrics.inputs import log_probabilities


class Tolerance(NamedTuple):
    """How much a network leaves to a few plausible classes, means over the images.

    Attributes:
        top: the largest probability.
        secondary: the sum of the next k - 1 probabilities.
        difference: `top` minus the mean of the next k - 1: the top score difference; small where it is tolerant.
        entropy: of the whole output, in nats, in [0, log K].
        k: how many classes are looked at, the first included.
    """

    top: float
    secondary: float
    difference: float
    entropy: float
    k: int


def tolerance(logits: Tensor, k: int = 5) -> Tolerance:
    """Measure how much mass a network gives to secondary classes: what makes a teacher tolerant.

    TSD = mean_n( f_1 - 1/(k-1) * sum_{i=2..k} f_i ),   f = softmax(z_n), sorted in descending order, right or wrong
    H = mean_n( -sum_c f_c * log f_c )

    Args:
        logits: (N, K), before the softmax, no temperature; any floating-point type, computed in float64.
        k: number of plausible classes of an image, the first included, in [2, K].

    Raises:
        DocendoError: if k is not in [2, K], or a logit is not finite.

    References:
        Yang, Xie, Qiao, Yuille: Training Deep Neural Networks in Generations, AAAI 2019, arXiv 1805.05551.

    >>> import torch
    >>> found = tolerance(torch.tensor([[0.5, 0.25, 0.125, 0.125]]).log(), k=3)
    >>> [round(value, 4) for value in found[:4]]  # the difference is 0.5 - 0.375 / 2
    [0.5, 0.375, 0.3125, 1.213]
    """
    log_f = log_probabilities("tolerance", logits)
    classes = log_f.shape[1]
    if not 2 <= k <= classes:
        raise DocendoError(f"tolerance looks at k={k} classes, but there are {classes}: set k from 2 to {classes}")
    f = log_f.exp()
    best = f.topk(k, dim=1).values
    top, secondary = best[:, 0].mean().item(), best[:, 1:].sum(dim=1).mean().item()
    entropy = -(f * log_f).sum(dim=1).mean().item()
    return Tolerance(top, secondary, top - secondary / (k - 1), entropy, k)

"""Losses on logits."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from docendo.errors import DocendoError


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy with the labels, mean over the batch.

    CE = mean_b( -log softmax(z_b)[y_b] )

    Args:
        logits: (B, K); half precision is computed in float32.
        labels: (B,), int64, in [0, K).

    Returns:
        A scalar, at least 0.

    >>> round(cross_entropy(torch.zeros(2, 10), torch.tensor([3, 7])).item(), 4)  # log 10
    2.3026
    """
    return F.cross_entropy(_at_least_float32(logits), labels)


def kd(
    student_logits: Tensor, teacher_logits: Tensor, temperature: float = 4.0, *, detach_target: bool = True
) -> Tensor:
    """KL divergence of softened outputs, summed over classes, mean over the batch, times T^2: knowledge distillation.

    KD(s <- t) = T^2 * mean_b sum_c q_c * (log q_c - log p_c),   q = softmax(t / T), p = softmax(s / T)

    The gradient on s is T * (p - q) / B, so its scale does not shrink as T grows (Hinton et al., section 2).

    Args:
        student_logits: (B, K), learns; half precision is computed in float32.
        teacher_logits: (B, K), teaches.
        temperature: T, above 0.
        detach_target: whether the teacher's logits are constants. False lets the one divergence move both sides, as
            in a teacher that is to become easy to follow.

    Returns:
        A scalar, at least 0, and 0 where both say the same.

    Deviations: the paper writes the soft cross-entropy, which differs by the teacher's entropy, a constant for the
    student. Released code that averages over classes too is weaker by a factor K.

    References:
        Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network, arXiv 1503.02531, section 2.

    >>> z = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    >>> kd(z, z).item()
    0.0
    >>> round(kd(z, -z, temperature=1.0).item(), 4)
    0.9927
    """
    if detach_target:
        teacher_logits = teacher_logits.detach()
    log_p = F.log_softmax(_at_least_float32(student_logits) / temperature, dim=1)
    log_q = F.log_softmax(_at_least_float32(teacher_logits) / temperature, dim=1)
    return F.kl_div(log_p, log_q, reduction="batchmean", log_target=True) * temperature**2


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
        DocendoError: if k is not in [2, C].

    References:
        Yang, Xie, Qiao, Yuille: Training Deep Neural Networks in Generations, AAAI 2019, arXiv 1805.05551.

    Deviations: none known; the formula is as restated by a reader and by follow-up work (zzysay/KD4NRE), whose code
    divides by k.

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
    scores = _at_least_float32(logits).softmax(dim=1)
    if labels is None:
        best = scores.topk(k, dim=1).values
        first, others = best[:, 0], best[:, 1:]
    else:
        first = scores.gather(1, labels[:, None])[:, 0]
        others = scores.scatter(1, labels[:, None], -1.0).topk(k - 1, dim=1).values
    return (first - others.sum(dim=1) / (k - 1 if divisor == "k-1" else k)).mean()


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

    >>> round(uniform_divergence(torch.tensor([[0.75, 0.25]]).log()).item(), 4)  # log(4/3) / 2
    0.1438
    """
    log_f = F.log_softmax(_at_least_float32(logits), dim=1)
    return -log_f.mean(dim=1).mean() - math.log(logits.shape[1])


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

    >>> round(confidence_penalty(torch.zeros(2, 10)).item(), 4)  # -log 10
    -2.3026
    """
    log_f = F.log_softmax(_at_least_float32(logits), dim=1)
    return (log_f.exp() * log_f).sum(dim=1).mean()


def logit_mse(student_logits: Tensor, teacher_logits: Tensor, *, detach_target: bool = True) -> Tensor:
    """Squared difference of logits, summed over classes, mean over the batch: the student copies the raw scores.

    MSE(s <- t) = mean_b sum_c (s_bc - t_bc)^2

    The gradient on s is 2 * (s - t) / B.

    Args:
        student_logits: (B, K), learns; half precision is computed in float32.
        teacher_logits: (B, K), teaches.
        detach_target: whether the teacher's logits are constants, what the papers call gradient block.

    Returns:
        A scalar, at least 0.

    Deviations: zhougr1993/Rocket-Launching divides by the nominal batch size, also on a short last batch.

    References:
        Zhou et al.: Rocket Launching, AAAI 2018, arXiv 1708.04106, the hint loss on logits before the softmax.

    >>> logit_mse(torch.tensor([[1.0, 0.0], [0.0, 0.0]]), torch.tensor([[0.0, 2.0], [0.0, 1.0]])).item()
    3.0
    """
    if detach_target:
        teacher_logits = teacher_logits.detach()
    gap = _at_least_float32(student_logits) - _at_least_float32(teacher_logits)
    return gap.square().sum(dim=1).mean()


def _at_least_float32(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x

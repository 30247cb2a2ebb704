"""Losses on how the samples of a batch lie to each other: pairs by similarity."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from docendo.losses.inputs import full_precision, pair, unit


@full_precision
def similarity_preserving(student_features: Tensor, teacher_features: Tensor) -> Tensor:
    """Squared difference of the similarities of samples, summed over all pairs, over B^2: similarity-preserving.

    SP(S, T) = 1/B^2 * sum_ij (G(S)_ij - G(T)_ij)^2,   G(F)_i = F_i F^T / ||F_i F^T||_2

    Args:
        student_features: (B, ...), maps or vectors, learns; half precision is computed in float32.
        teacher_features: (B, ...), teaches; its other sizes may differ; detached.

    Returns:
        A scalar in [0, 4 / B], and 0 where rows of similarities have the same direction; so for one sample it is 0.

    Raises:
        DocendoError: if the sides have not the same number of images.

    Deviations: none from RepDistiller. torchdistill 1.1.5 divides rows by their L1 norm, as it hands the axis to
    `normalize` in the place of the order. A sample whose features are all 0 is similar to nothing, and its
    similarities have no direction: they count as 0.

    References:
        Tung, Mori: Similarity-Preserving Knowledge Distillation, ICCV 2019, arXiv 1907.09682, equations 1 to 4.

    >>> apart, alike = torch.eye(2), torch.ones(2, 3)  # rows (1, 0), (0, 1); (1, 1) / sqrt(2) twice
    >>> similarity_preserving(apart, 3 * apart).item(), round(similarity_preserving(apart, alike).item(), 4)
    (0.0, 0.2929)
    """
    student, teacher = pair("similarity_preserving", student_features, teacher_features, agreeing=1)
    s, t = student.flatten(1), teacher.flatten(1)
    return (unit(s @ s.mT) - unit(t @ t.mT)).square().mean()


@full_precision
def pkt(student_features: Tensor, teacher_features: Tensor) -> Tensor:
    """KL divergence of who is near whom, mean over all pairs: probabilistic knowledge transfer.

    PKT(S, T) = mean_ij q_ij * log( (q_ij + 1e-7) / (p_ij + 1e-7) ),   p_ij = k(S_i, S_j) / sum_j k(S_i, S_j)

    k(x, y) = (cos(x, y) + 1) / 2, and q is p of the teacher. The mean is over B^2 pairs: KL, over B once more.

    Args:
        student_features: (B, ...), learns; half precision is computed in float32.
        teacher_features: (B, ...), teaches; its other sizes may differ; detached.

    Returns:
        A scalar, at least 0, and 0 where all angles are the same; so for one sample it is 0.

    Raises:
        DocendoError: if the sides have not the same number of images.

    Deviations: as the released code (passalis/probabilistic_kt), RepDistiller and torchdistill it counts the pair of
    a sample with itself, which the paper leaves out, and has the mean over pairs for the paper's sum. They add 1e-7
    to norms too.

    References:
        Passalis, Tefas: Learning Deep Representations with Probabilistic Knowledge Transfer, ECCV 2018, arXiv
        1803.10837, section 3.

    >>> apart, alike = torch.eye(2), torch.ones(2, 3)  # shares (2/3, 1/3); (1/2, 1/2)
    >>> pkt(apart, 3 * apart).item(), round(pkt(apart, alike).item(), 4)  # log(9/8) / 4
    (0.0, 0.0294)
    """
    student, teacher = pair("pkt", student_features, teacher_features, agreeing=1)
    p, q = _shares(student), _shares(teacher)
    return (q * ((q + 1e-7) / (p + 1e-7)).log()).mean()


@full_precision
def correlation_congruence(
    student_embeddings: Tensor, teacher_embeddings: Tensor, gamma: float = 0.4, order: int = 2
) -> Tensor:
    """Squared difference of the kernels of samples, mean over all pairs: correlation congruence.

    CC(S, T) = mean_ij (K(S)_ij - K(T)_ij)^2,   K(F)_ij = exp(-2 gamma) * sum_{p=0..order} (2 gamma F_i . F_j)^p / p!

    The rows of F are first divided by their L2 norm. K is then the Taylor series of the Gaussian kernel
    exp(-gamma * ||F_i - F_j||^2).

    Args:
        student_embeddings: (B, ...), learns; half precision is computed in float32.
        teacher_embeddings: (B, ...), teaches; its other sizes may differ; detached.
        gamma: one over twice the squared width of the kernel, above 0.
        order: the last power, at least 1.

    Returns:
        A scalar, at least 0, and 0 where all angles are the same; so for one sample it is 0.

    Raises:
        DocendoError: if the sides have not the same number of images.

    Deviations: torchdistill's CCKDLoss takes the root of the sum over pairs before it divides by B^2, and leaves it
    to the caller to normalise. RepDistiller's Correlation compares neighbours in the batch by their differences, by
    code of an author: another loss.

    References:
        Peng, Jin, Liu, Zhou, Wu, Liu, Li, Zhang: Correlation Congruence for Knowledge Distillation, ICCV 2019, arXiv
        1904.01802, sections 3.2 to 3.4.

    >>> apart, alike = torch.eye(2), torch.ones(2, 3)  # products 0 or 1: two of four places differ by exp(-1) * 1.5
    >>> correlation_congruence(apart, 2 * apart).item(), round(correlation_congruence(apart, alike, 0.5).item(), 4)
    (0.0, 0.1523)
    """
    student, teacher = pair("correlation_congruence", student_embeddings, teacher_embeddings, agreeing=1)
    return (_gaussian(student, gamma, order) - _gaussian(teacher, gamma, order)).square().mean()


def _shares(features: Tensor) -> Tensor:
    """Give for each sample what share of its similarity each has, (B, B)."""
    rows = unit(features.flatten(1))
    similarity = ((rows @ rows.mT + 1) / 2).clamp(min=0)  # rounding may leave opposite rows a little below
    return similarity / similarity.sum(dim=1, keepdim=True)


def _gaussian(embeddings: Tensor, gamma: float, order: int) -> Tensor:
    """Give the Taylor series of the Gaussian kernel, (B, B)."""
    rows = unit(embeddings.flatten(1))
    products = rows @ rows.mT * (2 * gamma)
    series = torch.ones_like(products)
    for power in range(1, order + 1):
        series = series + products**power / math.factorial(power)
    return math.exp(-2 * gamma) * series

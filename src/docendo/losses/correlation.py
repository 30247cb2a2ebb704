"""Losses on how the predictions for a batch hang together, by sample and by class."""

from __future__ import annotations

import torch
from torch import Tensor

from docendo.losses.inputs import SAME_CLASSES, full_precision, pair


@full_precision
def dist(
    student_logits: Tensor,
    teacher_logits: Tensor,
    beta: float = 1.0,
    gamma: float = 1.0,
    temperature: float = 1.0,
) -> Tensor:
    """One minus Pearson's correlation, mean over samples plus mean over classes, times T^2: DIST.

    DIST(s <- t) = T^2 * ( beta * mean_b(1 - r(p_b., q_b.)) + gamma * mean_c(1 - r(p_.c, q_.c)) )

    p = softmax(s / T), q = softmax(t / T), r is Pearson's correlation: over the classes of a sample, then over the
    samples of a class. Unlike a divergence it leaves the student free in scale and shift.

    Args:
        student_logits: (B, K), learns; half precision is computed in float32.
        teacher_logits: (B, K), teaches; detached.
        beta: weight of the relation between classes, within samples, at least 0.
        gamma: weight of the relation between samples, within classes, at least 0.
        temperature: T, above 0.

    Returns:
        A scalar in [0, 2 * T^2 * (beta + gamma)], and 0 where both say the same. What does not vary correlates with
        nothing, r = 0: one sample gives the second part its value gamma * T^2, without a gradient.

    Raises:
        DocendoError: if the shapes differ.

    Deviations: the paper's equations have neither temperature nor its square; hunto/DIST_KD and torchdistill have
    both. Norms below 1e-8 count as 1e-8, as there; but what is alike up to rounding, as the output of a head that
    starts at 0, is left at its size, where they multiply its gradient by 1e8.

    References:
        Huang, You, Wang, Qian, Xu: Knowledge Distillation from a Stronger Teacher, NeurIPS 2022, arXiv 2205.10536,
        section 4.

    >>> s = torch.tensor([[0.25, 0.75], [0.75, 0.25]]).log()
    >>> t = torch.tensor([[0.1, 0.9], [0.9, 0.1]]).log()
    >>> round(dist(s, t).item(), 4), round(dist(s, t.flip(0)).item(), 4)
    (0.0, 4.0)
    """
    student, teacher = pair("dist", student_logits, teacher_logits, cure=SAME_CLASSES)
    p, q = (student / temperature).softmax(dim=1), (teacher / temperature).softmax(dim=1)
    within_samples, within_classes = 1 - _pearson(p, q).mean(), 1 - _pearson(p.mT, q.mT).mean()
    return (beta * within_samples + gamma * within_classes) * temperature**2


@full_precision
def batch_correlation(student_logits: Tensor, teacher_logits: Tensor, temperature: float = 4.0) -> Tensor:
    """Squared difference of the products of samples' outputs, summed over all pairs, over B: MLKD's batch level.

    L = 1/B * sum_ij ( (P P^T)_ij - (Q Q^T)_ij )^2,   P = softmax(s / T), Q = softmax(t / T), (B, K)

    Args:
        student_logits: (B, K), learns; half precision is computed in float32.
        teacher_logits: (B, K), teaches; detached.
        temperature: T, above 0; the method adds the loss over several, 2 to 6.

    Returns:
        A scalar in [0, B]; of one sample too it is the difference of its sums of squares, squared.

    Raises:
        DocendoError: if the shapes differ.

    Deviations: the released code (Jin-Ying/Multi-Level-Logit-Distillation) then multiplies by the share of samples
    of which the teacher is least sure, about a half, as it masks a scalar; that is a matter of the weight.

    References:
        Jin, Wang, Lin: Multi-Level Logit Distillation, CVPR 2023, the batch-level alignment.

    >>> z = torch.tensor([[1e4, 0.0], [0.0, 1e4]])  # products: the identity, or all 1
    >>> batch_correlation(z, z).item(), batch_correlation(z, z[:1].repeat(2, 1)).item()
    (0.0, 1.0)
    """
    student, teacher = pair("batch_correlation", student_logits, teacher_logits, cure=SAME_CLASSES)
    p, q = (student / temperature).softmax(dim=1), (teacher / temperature).softmax(dim=1)
    return (p @ p.mT - q @ q.mT).square().sum() / len(p)


@full_precision
def class_correlation(student_logits: Tensor, teacher_logits: Tensor, temperature: float = 4.0) -> Tensor:
    """Squared difference of the products of classes' outputs, summed over all pairs, over K: MLKD's class level.

    L = 1/K * sum_kl ( (P^T P)_kl - (Q^T Q)_kl )^2,   P = softmax(s / T), Q = softmax(t / T), (B, K)

    Args:
        student_logits: (B, K), learns; half precision is computed in float32.
        teacher_logits: (B, K), teaches; detached.
        temperature: T, above 0; the method adds the loss over several, 2 to 6.

    Returns:
        A scalar in [0, 2 * B^2 / K]: products are summed over the batch, so it grows with the square of its size.

    Raises:
        DocendoError: if the shapes differ.

    Deviations: the released code (Jin-Ying/Multi-Level-Logit-Distillation) then multiplies by the share of classes
    of which the teacher is least sure, about a half, as it masks a scalar; that is a matter of the weight.

    References:
        Jin, Wang, Lin: Multi-Level Logit Distillation, CVPR 2023, the class-level alignment.

    >>> z = torch.tensor([[1e4, 0.0], [0.0, 1e4]])  # products: the identity, or 2 in one place
    >>> class_correlation(z, z).item(), class_correlation(z, z[:1].repeat(2, 1)).item()
    (0.0, 1.0)
    """
    student, teacher = pair("class_correlation", student_logits, teacher_logits, cure=SAME_CLASSES)
    p, q = (student / temperature).softmax(dim=1), (teacher / temperature).softmax(dim=1)
    return (p.mT @ p - q.mT @ q).square().sum() / p.shape[1]


def _pearson(x: Tensor, y: Tensor) -> Tensor:
    """Correlate the rows of two matrices."""
    return (_direction(x) * _direction(y)).sum(dim=1)


def _direction(x: Tensor) -> Tensor:
    """Centre the rows and bring them to length 1."""
    gap = x - x.mean(dim=1, keepdim=True)
    norm: Tensor = torch.linalg.vector_norm(gap, dim=1, keepdim=True)
    # Alike but for rounding: a length of 1 would be noise, and the gradient would have a factor of 1e8.
    alike = norm <= 1e-6 * torch.linalg.vector_norm(x, dim=1, keepdim=True)
    return gap / norm.clamp(min=1e-8).masked_fill(alike, 1.0)

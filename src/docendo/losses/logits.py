"""Losses on logits, sample by sample."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from docendo.losses.inputs import SAME_CLASSES, at_least_float32, full_precision, pair


@full_precision
def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy with the labels, mean over the batch.

    CE = mean_b( -log softmax(z_b)[y_b] )

    Of mixed images it is the mean over their classes, weighted by the shares.

    Args:
        logits: (B, K); half precision is computed in float32.
        labels: (B,), int64, in [0, K); or (B, K), floating point, the share of each class in each image.

    Returns:
        A scalar, at least 0.

    >>> round(cross_entropy(torch.zeros(2, 10), torch.tensor([3, 7])).item(), 4)  # log 10
    2.3026
    """
    logits = at_least_float32(logits)
    return F.cross_entropy(logits, labels.to(logits.dtype) if labels.is_floating_point() else labels)


@full_precision
def kd(
    student_logits: Tensor,
    teacher_logits: Tensor,
    temperature: float = 4.0,
    *,
    detach_target: bool = True,
    standardize: bool = False,
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
        standardize: whether the logits of each sample, on both sides, first lose their mean and are divided by their
            standard deviation (of K - 1 degrees of freedom, plus 1e-7), so that a student need not match the
            teacher's scale. K is at least 2 then. Logits that are all alike, as those of a head that starts at 0,
            only lose their mean.

    Returns:
        A scalar, at least 0, and 0 where both say the same.

    Raises:
        DocendoError: if the shapes differ.

    Deviations: the paper writes the soft cross-entropy, which differs by the teacher's entropy, a constant for the
    student. Released code that averages over classes too is weaker by a factor K. torchdistill's KDLoss has T^2 only
    where it adds the cross-entropy.

    References:
        Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network, arXiv 1503.02531, section 2.
        Sun, Ren, Li, Wang, Cao: Logit Standardization in Knowledge Distillation, CVPR 2024, arXiv 2403.01427, for
        `standardize`; the degrees of freedom and the 1e-7 are those of its released code.

    >>> z = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    >>> kd(z, z).item()
    0.0
    >>> round(kd(z, -z, temperature=1.0).item(), 4)
    0.9927
    >>> round(kd(z, 10 * z, standardize=True).item(), 4)
    0.0
    """
    student, teacher = pair("kd", student_logits, teacher_logits, cure=SAME_CLASSES, detach_target=detach_target)
    if standardize:
        student, teacher = _standardized(student), _standardized(teacher)
    log_p = F.log_softmax(student / temperature, dim=1)
    log_q = F.log_softmax(teacher / temperature, dim=1)
    return F.kl_div(log_p, log_q, reduction="batchmean", log_target=True) * temperature**2


@full_precision
def hard_distillation(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """Cross-entropy with the class that the teacher scores highest, mean over the batch: hard distillation.

    HD(s <- t) = mean_b( -log softmax(s_b)[argmax_c t_bc] )

    Args:
        student_logits: (B, K), learns: of the distillation token, in DeiT; half precision is computed in float32.
        teacher_logits: (B, K), teaches; of equal scores the first counts.

    Returns:
        A scalar, at least 0.

    Raises:
        DocendoError: if the shapes differ.

    Deviations: the paper (equation 3) has the mean of this and the cross-entropy with the labels; that half is the
    weight of a term, not part of the loss.

    References:
        Touvron et al.: Training Data-Efficient Image Transformers & Distillation through Attention, ICML 2021, arXiv
        2012.12877, section 4.

    >>> round(hard_distillation(torch.zeros(2, 10), torch.eye(2, 10)).item(), 4)  # log 10
    2.3026
    """
    student, teacher = pair("hard_distillation", student_logits, teacher_logits, cure=SAME_CLASSES)
    return F.cross_entropy(student, teacher.argmax(dim=1))


@full_precision
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

    Raises:
        DocendoError: if the shapes differ.

    Deviations: zhougr1993/Rocket-Launching divides by the nominal batch size, also on a short last batch.

    References:
        Zhou et al.: Rocket Launching, AAAI 2018, arXiv 1708.04106, the hint loss on logits before the softmax.

    >>> logit_mse(torch.tensor([[1.0, 0.0], [0.0, 0.0]]), torch.tensor([[0.0, 2.0], [0.0, 1.0]])).item()
    3.0
    """
    student, teacher = pair("logit_mse", student_logits, teacher_logits, cure=SAME_CLASSES, detach_target=detach_target)
    return (student - teacher).square().sum(dim=1).mean()


def _standardized(logits: Tensor) -> Tensor:
    std, mean = torch.std_mean(logits, dim=1, keepdim=True)
    # Alike but for rounding: to divide would give the gradient a factor of 1e7.
    alike = std <= 1e-6 * logits.abs().amax(dim=1, keepdim=True)
    return (logits - mean) / std.masked_fill(alike, 1.0).add(1e-7)

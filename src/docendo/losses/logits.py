"""Losses on logits."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


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

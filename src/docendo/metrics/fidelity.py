"""How closely a student follows its teacher, right or wrong."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from docendo.metrics.inputs import both


def agreement(student_logits: Tensor, teacher_logits: Tensor) -> float:
    """Fraction of images for which both find the same class most likely; of equals the first counts.

    Args:
        student_logits: (N, K), any floating-point type.
        teacher_logits: (N, K).

    Returns:
        In [0, 1].

    Raises:
        DocendoError: if the shapes differ, or a logit is not finite.

    References:
        Stanton, Izmailov, Kirichenko, Alemi, Wilson: Does Knowledge Distillation Really Work?, NeurIPS 2021, arXiv
        2106.05945.

    >>> import torch
    >>> agreement(torch.tensor([[2.0, 1.0], [0.0, 1.0]]), torch.tensor([[9.0, 0.0], [9.0, 0.0]]))
    0.5
    """
    log_p, log_q = both("agreement", student_logits, teacher_logits)
    return (log_p.argmax(dim=1) == log_q.argmax(dim=1)).double().mean().item()


def divergence(student_logits: Tensor, teacher_logits: Tensor) -> float:
    """KL divergence of the teacher's output from the student's, summed over classes, mean over the images.

    KL(q || p) = mean_n sum_c q_nc * (log q_nc - log p_nc),   q = softmax(t_n), p = softmax(s_n), temperature 1

    Args:
        student_logits: (N, K), any floating-point type; computed in float64.
        teacher_logits: (N, K).

    Returns:
        Nats, at least 0, and 0 where both say the same.

    Raises:
        DocendoError: if the shapes differ, or a logit is not finite.

    References:
        Stanton et al., arXiv 2106.05945.

    >>> import torch
    >>> z = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    >>> divergence(z, z), round(divergence(z, -z), 4)
    (0.0, 0.9927)
    """
    log_p, log_q = both("divergence", student_logits, teacher_logits)
    return F.kl_div(log_p, log_q, reduction="batchmean", log_target=True).item()

"""Decoupled knowledge distillation: the class of the label apart from the others."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from docendo.losses.inputs import SAME_CLASSES, full_precision, one_class, pair


@full_precision
def dkd(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    alpha: float = 1.0,
    beta: float = 8.0,
    temperature: float = 4.0,
) -> Tensor:
    """KL divergences of label against rest and within the rest, mean over the batch, times T^2: decoupled distillation.

    DKD(s <- t) = T^2 * mean_b( alpha * KL((q_y, 1 - q_y) || (p_y, 1 - p_y)) + beta * KL(q' || p') )

    q = softmax(t / T), p = softmax(s / T); q' and p' are the softmax over all classes but the label y. With beta in
    place of beta * (1 - q_y) for each sample, the second part stays where the teacher is sure; with alpha = 1 and
    beta = 1 - q_y it is `kd`.

    Args:
        student_logits: (B, K), learns; half precision is computed in float32.
        teacher_logits: (B, K), teaches; detached.
        labels: (B,), int64, in [0, K).
        alpha: weight of the first part, at least 0.
        beta: weight of the second part, at least 0; the paper takes 1 to 8, by the pair of networks.
        temperature: T, above 0.

    Returns:
        A scalar, at least 0, and 0 where both say the same. With two classes the second part is 0.

    Raises:
        DocendoError: if the shapes of the logits differ, or labels are shares of classes, as of mixed images.

    Deviations: mdistiller subtracts 1000 from the label's logit to leave it out, and takes the logarithm of summed
    probabilities, which is -inf where one vanishes; here both stay in log space, so logits may be of any size.
    Elsewhere the values are the same. Its linear start over the first epochs is not part of the loss.

    References:
        Zhao, Cui, Song, Qiu, Liang: Decoupled Knowledge Distillation, CVPR 2022, arXiv 2203.08679.

    >>> z, y = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0])
    >>> round(dkd(z, -z, y, temperature=1.0).item(), 4)  # kd(z, -z, 1.0), as there are two classes
    0.9927
    """
    student, teacher = pair("dkd", student_logits, teacher_logits, cure=SAME_CLASSES)
    labels = one_class("dkd", labels)
    (p, p_rest), (q, q_rest) = _apart(student / temperature, labels), _apart(teacher / temperature, labels)
    label_or_not = F.kl_div(p, q, reduction="batchmean", log_target=True)
    among_the_rest = F.kl_div(p_rest, q_rest, reduction="batchmean", log_target=True)
    return (alpha * label_or_not + beta * among_the_rest) * temperature**2


def _apart(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Give the log probabilities of label and not label (B, 2), and those of the others among themselves (B, K - 1)."""
    others = torch.arange(logits.shape[1] - 1, device=logits.device).expand(len(logits), -1)
    others = others + (others >= labels[:, None])  # every class but the label
    rest = logits.gather(1, others)
    two = torch.cat([logits.gather(1, labels[:, None]), rest.logsumexp(dim=1, keepdim=True)], dim=1)
    return F.log_softmax(two, dim=1), F.log_softmax(rest, dim=1)

"""Feature distillation before the activation, with a margin below which nothing is asked."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from docendo.errors import DocendoError
from docendo.losses.inputs import at_least_float32, full_precision, pair


@full_precision
def ofd(student_features: Tensor, teacher_features: Tensor, margin: Tensor) -> Tensor:
    """Partial squared difference, summed over channels and places, mean over the batch: OFD.

    OFD(s, t) = mean_b sum_cp 1[s > t' or t > 0] * (s_bcp - t'_bcp)^2,   t'_bcp = max(t_bcp, margin_c)

    Where the teacher's ReLU lets nothing through, it is enough that the student is lower than the teacher, and the
    teacher is never asked to be lower than the margin.

    Args:
        student_features: (B, C, H, W), before the activation, learns: what a convolution and BatchNorm make of the
            student's; half precision is computed in float32.
        teacher_features: (B, C, H, W), before the activation, teaches; detached.
        margin: (C,), below 0, such as `ofd_margin` gives; detached.

    Returns:
        A scalar, at least 0, and 0 where they differ only in how far below the margin they are.

    Raises:
        DocendoError: if the shapes differ, or margin has another length than there are channels.

    Deviations: the released code (clovaai/overhaul-distillation) gives the sum over the batch and divides it by the
    batch size times 1000 outside; mdistiller's is this, with a weight of 1e-3. Both halve the weight with each stage
    away from the last.

    References:
        Heo, Kim, Yun, Park, Kwak, Choi: A Comprehensive Overhaul of Feature Distillation, ICCV 2019, arXiv 1904.01866,
        section 3.

    >>> s, t = torch.tensor([[[[2.0, 0.0, -3.0]]]]), torch.tensor([[[[1.0, -4.0, -2.0]]]])
    >>> ofd(s, t, torch.tensor([-1.0])).item()  # (2 - 1)^2, (0 - -1)^2, and -3 is low enough
    2.0
    """
    student, teacher = pair("ofd", student_features, teacher_features)
    if margin.shape != student.shape[1:2]:
        raise DocendoError(
            f"ofd has margins of shape {tuple(margin.shape)} for maps of shape {tuple(student.shape)}: "
            "give one a channel"
        )
    target = teacher.maximum(at_least_float32(margin.detach())[:, None, None])
    asked = (student > target) | (target > 0)
    return ((student - target).square() * asked).sum() / len(student)


@full_precision
def ofd_margin(mean: Tensor, std: Tensor) -> Tensor:
    """Mean of what is below 0 of a Gaussian, for each channel: the margin of OFD.

    margin_c = E[x | x < 0] = mean_c - std_c * phi(h) / Phi(-h),   h = mean_c / std_c,   x ~ N(mean_c, std_c^2)

    phi and Phi are the standard normal density and distribution. Where Phi(-h) is at most 0.001, so that a channel is
    hardly ever below 0, it is -3 * std_c.

    Args:
        mean: (C,), the bias of the BatchNorm before the activation.
        std: (C,), its weight; the sign plays no part.

    Returns:
        (C,), at most 0, without a gradient.

    Deviations: none from the released code; the -3 * std_c is not in the paper.

    References:
        Heo et al.: A Comprehensive Overhaul of Feature Distillation, ICCV 2019, arXiv 1904.01866, section 3.

    >>> ofd_margin(torch.tensor([0.0, -1.0, 9.0]), torch.tensor([1.0, -1e-3, 1.0]))  # -sqrt(2 / pi), -1, -3
    tensor([-0.7979, -1.0000, -3.0000])
    """
    mean, std = at_least_float32(mean.detach()), at_least_float32(std.detach()).abs()
    h = mean / std
    below = torch.special.ndtr(-h)
    density = (-h.square() / 2).exp() / math.sqrt(2 * math.pi)
    return torch.where(below > 0.001, mean - std * density / below, -3 * std)

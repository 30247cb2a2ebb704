"""Losses on the maps of stages."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from docendo.losses.logits import _at_least_float32


def attention_map(features: Tensor) -> Tensor:
    """Say where a stage looks: the mean over channels of the squared features, divided by its L2 norm for each image.

    A(F) = a / max(||a||_2, 1e-12),   a_p = mean_c F_cp^2 for each place p

    Args:
        features: (B, C, H, W); half precision is computed in float32.

    Returns:
        (B, H * W), at least 0, each row of length 1, or 0 where the features are.

    References:
        Zagoruyko, Komodakis: Paying More Attention to Attention, arXiv 1612.03928, section 3.1, the sum of squares.

    Deviations: the paper sums over channels; after the division that is the same.

    >>> import torch
    >>> attention_map(torch.tensor([[[[3.0, 0.0]], [[0.0, 2.0]]]]))  # squares 9 and 4
    tensor([[0.9138, 0.4061]])
    """
    squares = _at_least_float32(features).square().mean(dim=1)
    return F.normalize(squares.flatten(1), dim=1, eps=1e-12)


def attention_transfer(student_features: Tensor, teacher_features: Tensor) -> Tensor:
    """Squared difference of two attention maps, mean over places and over the batch: attention transfer.

    AT(S, T) = mean_b mean_p (A(S)_bp - A(T)_bp)^2 = mean_b (2 - 2 cos(A(S)_b, A(T)_b)) / (H * W)

    A is `attention_map`. Where one side is larger, those features are first averaged down to the smaller side.

    Args:
        student_features: (B, C, H, W), learns; half precision is computed in float32.
        teacher_features: (B, C', H', W'), teaches; detached.

    Returns:
        A scalar in [0, 2 / (H * W)], and 0 where both look at the same places, whatever the scale.

    Deviations: the paper (equation 2) has beta / 2 times the norm of the difference, not squared, with a beta of 1000
    divided by places and batch size. Its released code, RepDistiller and this function have the mean square, so a
    weight of 1000 here is their beta of 1000, without the half. RepDistiller too averages the larger features.

    References:
        Zagoruyko, Komodakis: Paying More Attention to Attention, arXiv 1612.03928, section 3.1.

    >>> import torch
    >>> left, right = torch.tensor([[[[1.0, 0.0]]]]), torch.tensor([[[[0.0, 5.0]]]])
    >>> attention_transfer(left, 3 * left).item(), attention_transfer(left, right).item()
    (0.0, 1.0)
    """
    student, teacher = _at_least_float32(student_features), _at_least_float32(teacher_features.detach())
    sides = (min(student.shape[2], teacher.shape[2]), min(student.shape[3], teacher.shape[3]))
    return F.mse_loss(attention_map(_averaged(student, sides)), attention_map(_averaged(teacher, sides)))


def hint(student_features: Tensor, teacher_features: Tensor) -> Tensor:
    """Squared difference of features, mean over channels, places and the batch: the hint loss of FitNets.

    HT(r, u) = mean_bcp (r_bcp - u_bcp)^2

    Args:
        student_features: (B, C, H, W), learns: what a regressor makes of the student's features; half precision is
            computed in float32.
        teacher_features: (B, C, H, W), teaches; detached.

    Returns:
        A scalar, at least 0.

    Deviations: the paper (equation 3) has half the sum over channels and places; the mean, as in RepDistiller, does
    not grow with the size of a stage.

    References:
        Romero et al.: FitNets: Hints for Thin Deep Nets, arXiv 1412.6550, section 2.2.

    >>> import torch
    >>> hint(torch.zeros(1, 2, 1, 2), torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]])).item()
    7.5
    """
    return F.mse_loss(_at_least_float32(student_features), _at_least_float32(teacher_features.detach()))


def _averaged(features: Tensor, sides: tuple[int, int]) -> Tensor:
    """Average features down to smaller sides."""
    (height, width), (h, w) = features.shape[2:], sides
    if (height, width) == sides:
        return features
    if height % h == width % w == 0:  # the same, but has a deterministic gradient on a GPU
        return F.avg_pool2d(features, (height // h, width // w))
    return F.adaptive_avg_pool2d(features, sides)

"""Losses on the maps of stages: how channels and places hang together."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from docendo.losses.inputs import averaged, full_precision, pair, to_smaller_sides, unit


@full_precision
def nst(student_features: Tensor, teacher_features: Tensor) -> Tensor:
    """Maximum mean discrepancy of two sets of channels, mean over pairs of channels and the batch: NST.

    NST(S, T) = mean_b( mean_cd k(s_bc, s_bd) + mean_cd k(t_bc, t_bd) - 2 * mean_cd k(s_bc, t_bd) )

    s_bc is the map of channel c of image b, divided by its L2 norm: each channel is one draw from what a network looks
    at. k(x, y) = (x . y)^2 is the polynomial kernel of order 2 without a constant, so the loss is also the squared
    difference of the products of places, 1/C * sum_c s_bcp * s_bcq, summed over pairs of places. The cheaper form is
    computed: it needs (B, n, n) values, with n the places or the larger number of channels, whichever is fewer.
    Where one side's maps are larger, they are first averaged down to the smaller side.

    Args:
        student_features: (B, C, H, W), learns; half precision is computed in float32.
        teacher_features: (B, C', H', W'), teaches; detached.

    Returns:
        A scalar in [0, 2], up to rounding, and 0 where the channels are the same in any order.

    Raises:
        DocendoError: if the sides have not the same number of images.

    Deviations: the paper weighs with lambda / 2. A channel that is 0 everywhere has no direction and counts as 0,
    as in RepDistiller.

    References:
        Huang, Wang: Like What You Like: Knowledge Distill via Neuron Selectivity Transfer, arXiv 1707.01219,
        section 4.

    >>> import torch
    >>> here, there = torch.tensor([[[[1.0, 0.0]]]]), torch.tensor([[[[0.0, 5.0]]]])
    >>> nst(here, 3 * here).item(), nst(here, there).item()
    (0.0, 2.0)
    """
    student, teacher = to_smaller_sides(*pair("nst", student_features, teacher_features, agreeing=1))
    s, t = unit(student.flatten(2)), unit(teacher.flatten(2))
    if s.shape[2] <= max(s.shape[1], t.shape[1]):
        gap = s.mT @ s / s.shape[1] - t.mT @ t / t.shape[1]
        return gap.square().sum(dim=(1, 2)).mean()
    return _kernel(s, s) + _kernel(t, t) - 2 * _kernel(s, t)


@full_precision
def fsp(student_first: Tensor, student_last: Tensor, teacher_first: Tensor, teacher_last: Tensor) -> Tensor:
    """Squared difference of the flow from layer to layer, mean over pairs of channels and the batch: FSP.

    FSP = mean_bcd ( G(S, S')_bcd - G(T, T')_bcd )^2,   G(F, F')_bcd = mean_p F_bcp * F'_bdp

    Where one layer's maps are larger than the other's, they are first averaged down.

    Args:
        student_first: (B, C, H, W), learns; half precision is computed in float32.
        student_last: (B, D, H', W'), learns.
        teacher_first: (B, C, H'', W''), teaches; detached.
        teacher_last: (B, D, H''', W'''), teaches; detached.

    Returns:
        A scalar, at least 0.

    Raises:
        DocendoError: if images or channels differ between the sides.

    Deviations: as RepDistiller it averages larger maps down, where the paper takes maxima, and has the mean over
    pairs of channels, where the paper (equation 2) has the sum. torchdistill takes maxima and adds norms of columns,
    not squares.

    References:
        Yim, Joo, Bae, Kim: A Gift from Knowledge Distillation, CVPR 2017, section 3.

    >>> import torch
    >>> one, two = torch.ones(1, 1, 2, 2), torch.full((1, 1, 1, 1), 2.0)
    >>> fsp(one, two, one, two).item(), fsp(one, two, one, one).item()  # flows 2 and 2, 2 and 1
    (0.0, 1.0)
    """
    student_first, teacher_first = pair("fsp", student_first, teacher_first, agreeing=2)
    student_last, teacher_last = pair("fsp", student_last, teacher_last, agreeing=2)
    return F.mse_loss(_flow(student_first, student_last), _flow(teacher_first, teacher_last))


@full_precision
def hierarchical_context(
    student_features: Tensor, teacher_features: Tensor, levels: tuple[int, ...] = (4, 2, 1)
) -> Tensor:
    """Squared difference at several sizes, each a mean over everything, weighted mean over sizes: ReviewKD's HCL.

    HCL(s, t) = sum_l 2^-l * mean( (s_l - t_l)^2 ) / sum_l 2^-l

    s_0 is as given; s_1, s_2, ... are averages over areas, to sides of 4, 2 and 1.

    Args:
        student_features: (B, C, H, W), learns; half precision is computed in float32.
        teacher_features: (B, C, H, W), teaches; detached.
        levels: the sides to average to, falling; those that are not smaller than H and W are left out, and those
            after them move up.

    Returns:
        A scalar, at least 0.

    Raises:
        DocendoError: if the shapes differ.

    Deviations: none from the released code (dvlab-research/ReviewKD) on square maps; it compares a level with H
    alone.

    References:
        Chen, Liu, Zhao, Jia: Distilling Knowledge via Knowledge Review, CVPR 2021, arXiv 2104.09044, section 3.3.

    >>> import torch
    >>> s = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])
    >>> hierarchical_context(s, torch.zeros_like(s)).item()  # (1/4 + 1/2 * 1/16) / (3/2)
    0.1875
    """
    student, teacher = pair("hierarchical_context", student_features, teacher_features)
    loss, weight, total = F.mse_loss(student, teacher), 1.0, 1.0
    for side in levels:
        if side < min(student.shape[2:]):
            weight /= 2
            total += weight
            loss = loss + weight * F.mse_loss(averaged(student, (side, side)), averaged(teacher, (side, side)))
    return loss / total


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    """Mean of the squared products of channels (B, C, P) and (B, D, P)."""
    return (x @ y.mT).square().mean()


def _flow(first: Tensor, last: Tensor) -> Tensor:
    """Give the mean products of channels of two layers, (B, C, D)."""
    first, last = to_smaller_sides(first, last)
    return first.flatten(2) @ last.flatten(2).mT / (first.shape[2] * first.shape[3])

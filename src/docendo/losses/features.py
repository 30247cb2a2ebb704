"""Losses on the maps of stages, place by place."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from docendo.errors import DocendoError
from docendo.losses.inputs import at_least_float32, full_precision, pair, to_smaller_sides


@full_precision
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
    squares = at_least_float32(features).square().mean(dim=1)
    return F.normalize(squares.flatten(1), dim=1, eps=1e-12)


@full_precision
def attention_transfer(student_features: Tensor, teacher_features: Tensor) -> Tensor:
    """Squared difference of two attention maps, mean over places and over the batch: attention transfer.

    AT(S, T) = mean_b mean_p (A(S)_bp - A(T)_bp)^2 = mean_b (2 - 2 cos(A(S)_b, A(T)_b)) / (H * W)

    A is `attention_map`. Where one side is larger, those features are first averaged down to the smaller side.

    Args:
        student_features: (B, C, H, W), learns; half precision is computed in float32.
        teacher_features: (B, C', H', W'), teaches; detached.

    Returns:
        A scalar in [0, 2 / (H * W)], and 0 where both look at the same places, whatever the scale.

    Raises:
        DocendoError: if the sides have not the same number of images.

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
    student, teacher = to_smaller_sides(*pair("attention_transfer", student_features, teacher_features, agreeing=1))
    return F.mse_loss(attention_map(student), attention_map(teacher))


@full_precision
def hint(student_features: Tensor, teacher_features: Tensor) -> Tensor:
    """Squared difference of features, mean over channels, places and the batch: the hint loss of FitNets.

    HT(r, u) = mean_bcp (r_bcp - u_bcp)^2

    Args:
        student_features: (B, C, H, W), learns: what a regressor makes of the student's features; half precision is
            computed in float32.
        teacher_features: (B, C, H, W), teaches; detached.

    Returns:
        A scalar, at least 0.

    Raises:
        DocendoError: if the shapes differ.

    Deviations: the paper (equation 3) has half the sum over channels and places; the mean, as in RepDistiller, does
    not grow with the size of a stage.

    References:
        Romero et al.: FitNets: Hints for Thin Deep Nets, arXiv 1412.6550, section 2.2.

    >>> import torch
    >>> hint(torch.zeros(1, 2, 1, 2), torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]])).item()
    7.5
    """
    return F.mse_loss(*pair("hint", student_features, teacher_features))


@full_precision
def simkd(student_features: Tensor, teacher_features: Tensor) -> Tensor:
    """Squared difference of last features, mean over channels, places and the batch: SimKD.

    SimKD(f, t) = mean_bcp (f_bcp - t_bcp)^2

    The formula is that of `hint`; what is new is where: on the last maps, the student's after a projector, so that
    the teacher's own classifier can stand on the student.

    Args:
        student_features: (B, C, H, W), learns: what the projector makes of the student's last maps; half precision
            is computed in float32.
        teacher_features: (B, C, H, W), teaches: what the teacher's classifier pools, averaged down to the student's
            sides where they are smaller; detached.

    Returns:
        A scalar, at least 0.

    Raises:
        DocendoError: if the shapes differ.

    References:
        Chen, Mei, Zhang, Wang, Feng, Chen: Knowledge Distillation with the Reused Teacher Classifier, CVPR 2022, arXiv
        2203.14001.

    >>> import torch
    >>> simkd(torch.zeros(1, 2, 1, 2), torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]])).item()
    7.5
    """
    return F.mse_loss(*pair("simkd", student_features, teacher_features))


@full_precision
def vid(student_mean: Tensor, teacher_features: Tensor, log_scale: Tensor) -> Tensor:
    """Negative log likelihood of the teacher's features, mean over channels, places and the batch: VID.

    VID = mean_bcp 1/2 * ( (m_bcp - t_bcp)^2 / v_c + log v_c ),   v_c = log(1 + exp(a_c)) + 1e-5

    The student says what it expects of the teacher's features: a Gaussian, its mean by image, its variance by channel.

    Args:
        student_mean: (B, C, H, W), or (B, C), learns: what a regressor makes of the student's features; half
            precision is computed in float32.
        teacher_features: as student_mean, teaches; detached.
        log_scale: (C,), a, learns too; log(exp(5 - 1e-5) - 1) starts at a variance of 5.

    Returns:
        A scalar, below 0 where the student is sure and right: at least log(1e-5) / 2 = -5.76.

    Raises:
        DocendoError: if the shapes differ, or log_scale has another length than there are channels.

    Deviations: the constant log(2 pi) / 2 is left out, and the 1e-5 and the mean are those of the released code; the
    paper sums over channels and places.

    References:
        Ahn, Hu, Damianou, Lawrence, Dai: Variational Information Distillation for Knowledge Transfer, CVPR 2019, arXiv
        1904.05835, section 2.1.

    >>> import torch
    >>> a = torch.tensor([1 - 1e-5]).expm1().log()  # a variance of 1
    >>> round(vid(torch.zeros(2, 1, 1, 1), torch.full((2, 1, 1, 1), 2.0), a).item(), 4)
    2.0
    """
    student, teacher = pair("vid", student_mean, teacher_features)
    if log_scale.shape != student.shape[1:2]:
        raise DocendoError(
            f"vid has {tuple(log_scale.shape)} scales for maps of shape {tuple(student.shape)}: give one a channel"
        )
    variance = F.softplus(at_least_float32(log_scale)).reshape(-1, *[1] * (student.ndim - 2)) + 1e-5
    return ((student - teacher).square() / variance + variance.log()).mean() / 2

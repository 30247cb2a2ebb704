"""Losses on pooled features."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from docendo.losses.inputs import full_precision, pair


@full_precision
def feature_distance(
    student_features: Tensor, teacher_features: Tensor, reduction: Literal["sum", "mean", "batchmean"] = "batchmean"
) -> Tensor:
    """Squared Euclidean distance of pooled features, summed over channels, mean over the batch unless told otherwise.

    D(f, t) = mean_b sum_c (f_bc - t_bc)^2

    Args:
        student_features: (B, D), learns; half precision is computed in float32.
        teacher_features: (B, D), teaches; detached.
        reduction: "batchmean" as above; "sum" over the batch too, which grows with it; "mean" over both.

    Returns:
        A scalar, at least 0.

    Raises:
        DocendoError: if the shapes differ.

    Deviations: zhengli427/TESKD leaves out where neither feature is above 0, which changes nothing for averages of
    ReLU outputs. ArchipLab-LinfengZhang/pytorch-self-distillation-final takes the root of the sum over the batch.

    References:
        Zhang et al.: Be Your Own Teacher, arXiv 1905.08094, the hint; Li et al.: Teacher Evolution via
        Self-Knowledge Distillation, arXiv 2110.00329, the feature loss.

    >>> import torch
    >>> f, t = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[0.0, 0.0], [3.0, 0.0]])
    >>> [feature_distance(f, t, over).item() for over in ("sum", "mean", "batchmean")]
    [14.0, 3.5, 7.0]
    """
    student, teacher = pair("feature_distance", student_features, teacher_features)
    squares = (student - teacher).square()
    if reduction == "mean":
        return squares.mean()
    return squares.sum() if reduction == "sum" else squares.sum(dim=1).mean()

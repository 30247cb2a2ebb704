"""Relational knowledge distillation: the distances and the angles between the samples of a batch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from docendo.losses.inputs import full_precision, pair, unit

ANGLES_AT_ONCE = 2**24


@full_precision
def rkd_distance(student_features: Tensor, teacher_features: Tensor) -> Tensor:
    """Huber difference of the distances of samples, mean over all pairs: RKD-D.

    RKD-D(S, T) = mean_ij huber( d(S)_ij - d(T)_ij ),   d(F)_ij = ||F_i - F_j||_2 / m(F)

    m(F) is the mean over the distances above 0, and takes part in the gradient; huber(x) = x^2 / 2 up to |x| = 1, and
    |x| - 1/2 beyond.

    Args:
        student_features: (B, ...), learns; half precision is computed in float32.
        teacher_features: (B, ...), teaches; its other sizes may differ; detached.

    Returns:
        A scalar, at least 0, and 0 where one batch is the other, scaled, turned and moved. Where all samples are at
        one point, as one sample is, its distances are 0. Samples at one point do not pull each other apart: the
        gradient of their distance is 0.

    Raises:
        DocendoError: if the sides have not the same number of images.

    Deviations: as the released code (lenscloth/RKD), RepDistiller and torchdistill it has the mean over B^2 pairs,
    those of a sample with itself included, where the paper has a sum. They raise other distances to at least 1e-6.

    References:
        Park, Kim, Lu, Cho: Relational Knowledge Distillation, CVPR 2019, arXiv 1904.05068, section 3.2.1.

    >>> line, pairs = torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([[0.0], [0.0], [3.0]])
    >>> rkd_distance(3 * line + 1, line).item()
    0.0
    >>> round(rkd_distance(pairs, line).item(), 4)  # distances 0, 1, 1 against 3/4, 3/4, 3/2
    0.0972
    """
    student, teacher = pair("rkd_distance", student_features, teacher_features, agreeing=1)
    return F.smooth_l1_loss(_distances(student.flatten(1)), _distances(teacher.flatten(1)))


@full_precision
def rkd_angle(student_features: Tensor, teacher_features: Tensor) -> Tensor:
    """Huber difference of the angles that samples form, mean over all triples: RKD-A.

    RKD-A(S, T) = mean_ijk huber( cos(S)_ijk - cos(T)_ijk ),   cos(F)_ijk = e_ij . e_ik

    e_ij = (F_j - F_i) / ||F_j - F_i||_2 is the direction from sample i to sample j; huber is as in `rkd_distance`.

    Of B^3 angles at most 2^24 are held at once, a few times over (67 MB each in float32), so all of them up to
    B = 256; beyond, they are taken by groups of the samples they are seen from, and computed again on the way back.

    Args:
        student_features: (B, ...), learns; half precision is computed in float32.
        teacher_features: (B, ...), teaches; its other sizes may differ; detached.

    Returns:
        A scalar in [0, 3/2], and 0 where one batch is the other, scaled, turned and moved. From a sample to itself,
        or to one at the same point, there is no direction: such cosines are 0, without a gradient. So for one sample
        it is 0.

    Raises:
        DocendoError: if the sides have not the same number of images.

    Deviations: as the released code (lenscloth/RKD), RepDistiller and torchdistill it has the mean over B^3 triples,
    those with a sample twice included, where the paper has a sum.

    References:
        Park, Kim, Lu, Cho: Relational Knowledge Distillation, CVPR 2019, arXiv 1904.05068, section 3.2.2.

    >>> corner, line = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), torch.tensor([[0.0], [-1.0], [1.0]])
    >>> rkd_angle(2 * corner + 1, corner).item()
    0.0
    >>> round(rkd_angle(corner, line).item(), 4)  # cosines 0 against -1, twice sqrt(1/2) against 1, each two times
    0.0434
    """
    student, teacher = pair("rkd_angle", student_features, teacher_features, agreeing=1)
    sides, images = (student.flatten(1), teacher.flatten(1)), len(student)
    groups = torch.split(torch.arange(images, device=student.device), max(1, ANGLES_AT_ONCE // images**2))
    if len(groups) == 1:
        return _angle_gap(*sides, groups[0]) / images**3
    total = student.new_zeros(())  # one after the other: smooth_l1_loss hands back all its elements' memory with a sum
    for group in groups:
        total = total + checkpoint(_angle_gap, *sides, group, use_reentrant=False, preserve_rng_state=False)
    return total / images**3


def _distances(points: Tensor) -> Tensor:
    """Give the distances of all pairs over the mean of those above 0, (B, B)."""
    # By differences: products would lose the distance of near points far from the origin. Its gradient at 0 is 0.
    distances = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist")
    mean = distances.sum() / (distances > 0).sum().clamp(min=1)
    return distances / mean.where(mean > 0, 1.0)


def _angle_gap(student: Tensor, teacher: Tensor, seen_from: Tensor) -> Tensor:
    """Give the sum of the Huber differences over the angles seen from these samples."""
    return F.smooth_l1_loss(_cosines(student, seen_from), _cosines(teacher, seen_from), reduction="sum")


def _cosines(points: Tensor, seen_from: Tensor) -> Tensor:
    """Give the cosine at i between the directions to j and k, (G, B, B), for G samples i."""
    directions = unit(points - points[seen_from, None])
    return directions @ directions.mT

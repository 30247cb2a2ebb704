"""SSKD: which upright image does a turned one come from?"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from docendo.errors import DocendoError
from docendo.losses.inputs import at_least_float32, full_precision, one_class, pair, unit


@full_precision
def sskd_similarity(
    student_normal: Tensor,
    student_rotated: Tensor,
    teacher_normal: Tensor,
    teacher_rotated: Tensor,
    temperature: float = 0.5,
    keep_wrong: float = 0.75,
) -> Tensor:
    """KL divergence of which image a turned one resembles, summed over images, mean over those kept, times T^2: SSKD.

    L = T^2 * mean_{kept r} sum_j q_rj * (log q_rj - log p_rj),   p_r = softmax_j( cos(s_r, s_j) / T )

    r runs over the turned images, j over the upright ones; q is p of the teacher. Kept are all r that the teacher finds
    the upright image of, and of the others the least wrong: `sskd_selected`.

    Args:
        student_normal: (B, D), embeddings of upright images by the head of this task, learns; half precision is
            computed in float32.
        student_rotated: (B, R, D), of R transforms of each, learns.
        teacher_normal: (B, D'), teaches; detached.
        teacher_rotated: (B, R, D'), teaches; detached.
        temperature: T, above 0.
        keep_wrong: which share of those that the teacher gets wrong is kept, in [0, 1].

    Returns:
        A scalar, at least 0. For one image there is nothing to confuse it with: 0. Where none is kept: 0.

    Raises:
        DocendoError: if the numbers of images or of transforms differ.

    Deviations: none from the released code (xuguodong03/SSKD), in which R is 3 and the images of a batch are in turn
    upright and thrice turned. The T^2 is its own.

    References:
        Xu, Liu, Li, Loy: Knowledge Distillation Meets Self-Supervision, ECCV 2020, arXiv 2006.07114, section 3.

    >>> z = torch.eye(2)
    >>> sskd_similarity(z, z[:, None], z, z[:, None]).item()
    0.0
    >>> round(sskd_similarity(z, z[:, None], z, z[:, None].flip(0), temperature=1.0).item(), 4)  # one of two is kept
    0.4621
    """
    student_normal, teacher_normal = pair("sskd_similarity", student_normal, teacher_normal, agreeing=1)
    student_rotated, teacher_rotated = pair("sskd_similarity", student_rotated, teacher_rotated, agreeing=2)
    pair("sskd_similarity", student_rotated, teacher_normal, agreeing=1)
    student, own = _similarities(student_normal, student_rotated)
    teacher, _ = _similarities(teacher_normal, teacher_rotated)
    kept = sskd_selected(teacher, own, keep_wrong)
    log_p, log_q = F.log_softmax(student / temperature, dim=1), F.log_softmax(teacher / temperature, dim=1)
    rows = F.kl_div(log_p, log_q, reduction="none", log_target=True).sum(dim=1)
    return (rows * kept).sum() / kept.sum().clamp(min=1) * temperature**2


@full_precision
def sskd_contrast(normal: Tensor, rotated: Tensor, temperature: float = 1.0) -> Tensor:
    """Cross-entropy of finding the upright image of a turned one, mean over turned images: SSKD's own task.

    L = mean_r( -log softmax_j( cos(x_r, x_j) / T )[own image of r] )

    What the teacher's head for this task learns, before it teaches.

    Args:
        normal: (B, D), embeddings of upright images, learns; half precision is computed in float32.
        rotated: (B, R, D), of R transforms of each, learns.
        temperature: T, above 0.

    Returns:
        A scalar, at least 0. For one image: 0.

    Raises:
        DocendoError: if the numbers of images differ.

    Deviations: none from the released code (xuguodong03/SSKD), which has T = 1.

    References:
        Xu, Liu, Li, Loy: Knowledge Distillation Meets Self-Supervision, ECCV 2020, arXiv 2006.07114, section 3.

    >>> z = torch.eye(2)
    >>> round(sskd_contrast(z, z[:, None]).item(), 4)  # log(1 + exp(-1))
    0.3133
    """
    if len(rotated) != len(normal):
        raise DocendoError(
            f"sskd_contrast has {len(normal)} upright images and transforms of {len(rotated)}: both need the same"
        )
    return F.cross_entropy(*_similarities(at_least_float32(normal), at_least_float32(rotated), temperature))


@full_precision
def sskd_selected(scores: Tensor, targets: Tensor, keep_wrong: float) -> Tensor:
    """Say which samples to learn from: all that the teacher has right, and the least wrong of the others.

    The error level of a sample is how many classes score higher than its own; 0 is right. Of n wrong ones those
    floor(keep_wrong * n) of the lowest level are kept, of equal levels the first.

    Args:
        scores: (N, K), the teacher's.
        targets: (N,), int64, in [0, K).
        keep_wrong: which share of the wrong ones is kept, in [0, 1].

    Returns:
        (N,), bool. For SSKD's other selection, on the logits of turned images: `kd(student[kept], teacher[kept])`.

    Raises:
        DocendoError: if targets are shares of classes, as of mixed images.

    Deviations: the released code (xuguodong03/SSKD) sorts, so that of equal scores and of equal levels any may come
    first.

    References:
        Xu, Liu, Li, Loy: Knowledge Distillation Meets Self-Supervision, ECCV 2020, arXiv 2006.07114, section 3.

    >>> scores = torch.tensor([[3.0, 2.0, 1.0]] * 3)
    >>> sskd_selected(scores, torch.tensor([2, 0, 1]), keep_wrong=0.5)
    tensor([False,  True,  True])
    """
    targets = one_class("sskd_selected", targets)
    level = (scores > scores.gather(1, targets[:, None])).sum(dim=1)
    wrong = (level > 0).sum()
    kept = len(level) - wrong + (wrong * keep_wrong).long()
    return level.argsort(stable=True).argsort() < kept


def _similarities(normal: Tensor, rotated: Tensor, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    """Give the cosines of turned with upright images over T, (B * R, B), and which upright image is whose own."""
    cosines = unit(rotated).flatten(0, 1) @ unit(normal).mT
    own = torch.arange(len(normal), device=normal.device).repeat_interleave(rotated.shape[1])
    return cosines / temperature, own

"""Contrastive representation distillation: which embedding of the other network is of the same image?"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from docendo.errors import DocendoError
from docendo.losses.inputs import at_least_float32, full_precision, one_class, pair, unit


@full_precision
def crd(
    student_embeddings: Tensor,
    teacher_embeddings: Tensor,
    labels: Tensor | None = None,
    temperature: float = 0.07,
    *,
    detach_target: bool = True,
) -> Tensor:
    """Cross-entropy of finding one's own image on the other side, sum of both ways, mean over the batch: CRD, no bank.

    CRD = mean_b( -log( exp(c_bb / T) / sum_j exp(c_bj / T) ) - log( exp(c_bb / T) / sum_j exp(c_jb / T) ) )

    c_ij = cos(s_i, t_j). The student looks for its image among the teacher's embeddings, and the teacher among the
    student's: what is not the pair is pushed apart on both sides, and the batch is where negatives come from.

    Args:
        student_embeddings: (B, D), learns; half precision is computed in float32.
        teacher_embeddings: (B, D), teaches.
        labels: (B,), int64: other images of the same class are then no negatives. Without, all others are.
        temperature: T, above 0.
        detach_target: whether the teacher's embeddings are constants. False where they come from a projection of
            the teacher's features that learns with the student, as in the paper.

    Returns:
        A scalar, at least 0. Without negatives, as for one sample, it is 0, and so is the gradient.

    Raises:
        DocendoError: if the shapes differ, or labels are shares of classes, as of mixed images.

    Deviations: the paper's loss is binary, true pair or not, with thousands of negatives from a memory: that is
    `crd_bank`. This is the same question asked within a batch, as a choice among B (InfoNCE), so weights do not carry
    over. Both ways are added, as the paper adds student and teacher as anchors.

    References:
        Tian, Krishnan, Isola: Contrastive Representation Distillation, ICLR 2020, arXiv 1910.10699, section 3.1.
        van den Oord, Li, Vinyals: Representation Learning with Contrastive Predictive Coding, arXiv 1807.03748.

    >>> z = torch.eye(2)
    >>> round(crd(z, z, temperature=1.0).item(), 4)  # 2 * log(1 + exp(-1))
    0.6265
    >>> crd(z, z, labels=torch.tensor([5, 5])).item()
    0.0
    """
    student, teacher = pair("crd", student_embeddings, teacher_embeddings, detach_target=detach_target)
    scores = unit(student) @ unit(teacher).mT / temperature
    if labels is not None:
        labels = one_class("crd", labels)
        same_class = (labels[:, None] == labels).fill_diagonal_(False)
        scores = scores.masked_fill(same_class, -torch.inf)
    own = torch.arange(len(scores), device=scores.device)
    return F.cross_entropy(scores, own) + F.cross_entropy(scores.mT, own)


@full_precision
def crd_bank(
    embedding: Tensor,
    positive: Tensor,
    negatives: Tensor,
    images: int,
    temperature: float = 0.07,
    *,
    log_normalization: float | Tensor,
    drawn: Tensor | None = None,
) -> Tensor:
    """Binary cross-entropy of one true and N drawn pairs, summed over pairs, mean over the batch: CRD with a bank.

    L = -mean_b( log h(e_b, u_b) + sum_n log(1 - h(e_b, v_bn)) ),   h(e, v) = P(e, v) / (P(e, v) + N / M)

    P(e, v) = exp(e . v / T) / Z: noise contrastive estimation, in which 1 / M is the chance to draw an image. The
    paper's loss is the sum of two: the student's embedding against the teacher's bank, and the teacher's embedding (of
    a projection that learns) against the student's bank.

    Args:
        embedding: (B, D), learns; divided by its L2 norm; half precision is computed in float32.
        positive: (B, D), of the same images by the other network, of length 1; detached. In the paper the bank's
            rows of before their update.
        negatives: (B, N, D), or (N, D) for all of the batch, rows of the other network's bank, of length 1; detached.
        images: M, how many images the bank has.
        temperature: T, above 0.
        log_normalization: log Z, for which `crd_log_normalization` of the first batch is usual; then a constant.
        drawn: (B, N), int64, which rows of negatives (M, D) each image is compared with: the product with all rows is
            much cheaper than to gather N of them for each image; None: with all that are given.

    Returns:
        A scalar, at least 0.

    Raises:
        DocendoError: if the shapes do not fit.

    Deviations: the paper's P has no Z, its code has. RepDistiller and torchdistill add 1e-7 to denominators; here all
    is in log space and needs none. They draw negatives with replacement, so the image itself can be among them; that
    is up to the bank.

    References:
        Tian, Krishnan, Isola: Contrastive Representation Distillation, ICLR 2020, arXiv 1910.10699, section 3.1 and
        the appendix on the memory.

    >>> e, v = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0], [0.0, -1.0]])
    >>> round(crd_bank(e, e, v, images=2, temperature=1.0, log_normalization=0.0).item(), 4)  # log(1 + 1/e) + 2 * log 2
    1.6996
    """
    true, false = _scores(embedding, positive, negatives, temperature)
    if drawn is not None:
        false = false.gather(1, drawn)
    even = log_normalization + math.log(false.shape[1] / images)  # the score at which h is a half
    return (F.softplus(even - true) + F.softplus(false - even).sum(dim=1)).mean()


@full_precision
def crd_log_normalization(
    embedding: Tensor, positive: Tensor, negatives: Tensor, images: int, temperature: float = 0.07
) -> Tensor:
    """Logarithm of the mean of exp(score) over all pairs of a batch, times M: the constant of CRD with a bank.

    log Z = log( M * mean_bn exp(e_b . v_bn / T) ),   n = 0..N, v_b0 the positive

    With it the mean of P(e, v) over this batch is 1 / M.

    Args:
        embedding: (B, D); detached.
        positive: (B, D); detached.
        negatives: (B, N, D) or (N, D); detached.
        images: M, how many images the bank has.
        temperature: T, above 0.

    Returns:
        A scalar, without a gradient.

    Raises:
        DocendoError: if the shapes do not fit.

    Deviations: none from RepDistiller and torchdistill, which set Z once, by their first batch, and keep it.

    References:
        Tian, Krishnan, Isola: Contrastive Representation Distillation, arXiv 1910.10699, its released code.

    >>> e, v = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0], [0.0, -1.0]])
    >>> round(crd_log_normalization(e, e, v, images=3, temperature=1.0).item(), 4)  # log(e + 1 + 1)
    1.5514
    """
    true, drawn = _scores(embedding.detach(), positive, negatives, temperature)
    scores = torch.cat([true[:, None], drawn], dim=1)
    return scores.flatten().logsumexp(dim=0) + math.log(images / scores.numel())


def _scores(embedding: Tensor, positive: Tensor, negatives: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Give the scores of the true pairs (B,) and of the drawn ones (B, N)."""
    embedding, positive = pair("crd_bank", embedding, positive)
    (batch, size), shape = embedding.shape, tuple(negatives.shape)
    if len(shape) < 2 or shape[-1] != size or shape[:-2] not in ((), (batch,)):
        raise DocendoError(
            f"crd_bank has embeddings of shape {(batch, size)} and negatives of shape {shape}: "
            "give negatives as (B, N, D) or (N, D)"
        )
    negatives = at_least_float32(negatives.detach())
    embedding = unit(embedding) / temperature
    drawn = embedding @ negatives.mT if len(shape) == 2 else (negatives @ embedding[:, :, None])[:, :, 0]
    return (embedding * positive).sum(dim=1), drawn

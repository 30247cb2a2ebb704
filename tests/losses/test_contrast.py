"""CRD without and with a bank: slow loops, which images are negatives, the constant, extremes."""

import math

import pytest
import torch
from torch import Tensor

from docendo.errors import DocendoError
from docendo.losses import crd, crd_bank, crd_log_normalization
from tests.losses.agreement import assert_agree, dot, draw, length, mean, total


def slow_crd(student: Tensor, teacher: Tensor, labels: list[int], temperature: float) -> Tensor:
    batch = range(len(labels))
    s, t = ([row / length(row) for row in side] for side in (student, teacher))
    odds = [[(dot(s[i], t[j]) / temperature).exp() for j in batch] for i in batch]
    values = []
    for i in batch:
        against = [j for j in batch if j == i or labels[j] != labels[i]]
        values.append(-(odds[i][i] / total([odds[i][j] for j in against])).log())
        values.append(-(odds[i][i] / total([odds[j][i] for j in against])).log())
    return 2 * mean(values)


@pytest.mark.parametrize("batch", [2, 6])
@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize("detach", [True, False])
def test_crd_is_the_slow_loop(batch: int, labelled: bool, detach: bool) -> None:
    student, teacher = draw((batch, 3), (batch, 3))
    labels = [3, 1, 3, 0, 1, 3][:batch] if labelled else list(range(batch))
    ours = crd(student, teacher, torch.tensor(labels) if labelled else None, 0.2, detach_target=detach)
    slow = slow_crd(student, teacher.detach() if detach else teacher, labels, 0.2)
    assert_agree(ours, slow, student, *() if detach else (teacher,))


@pytest.mark.parametrize("labels", [None, torch.tensor([4, 4, 4])])
def test_without_negatives_there_is_nothing_to_tell_apart(labels: Tensor | None) -> None:
    student, teacher = draw(*[(1, 3) if labels is None else (3, 3)] * 2)
    loss = crd(student, teacher, labels)
    loss.backward()
    assert loss.item() == 0
    torch.testing.assert_close(student.grad, torch.zeros_like(student))


def bank(shared: bool) -> tuple[Tensor, Tensor, Tensor]:
    embedding, positive, negatives = draw((4, 3), (4, 3), (5, 3) if shared else (4, 5, 3))
    return embedding, *(x / x.norm(dim=-1, keepdim=True) for x in (positive, negatives))


def slow_bank(
    embedding: Tensor, positive: Tensor, negatives: Tensor, images: int, temperature: float, normalization: float
) -> Tensor:
    """Follow the paper: h = P / (P + N / M) for the pair that is, 1 - h for those that are not."""
    values = []
    for b, e in enumerate(embedding):
        e = e / length(e)
        drawn = negatives.detach() if negatives.ndim == 2 else negatives[b].detach()
        chance = len(drawn) / images
        odds = [(dot(e, v) / temperature).exp() / normalization for v in (positive[b].detach(), *drawn)]
        h = [x / (x + chance) for x in odds]
        values.append(-h[0].log() - total([(1 - x).log() for x in h[1:]]))
    return mean(values)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize(("images", "temperature", "normalization"), [(50, 0.07, 4e5), (6, 1.0, 1.0)])
def test_the_bank_is_the_slow_loop(shared: bool, images: int, temperature: float, normalization: float) -> None:
    inputs = bank(shared)
    ours = crd_bank(*inputs, images, temperature, log_normalization=math.log(normalization))
    assert_agree(ours, slow_bank(*inputs, images, temperature, normalization), inputs[0], rtol=1e-9)
    one = [x[:1] for x in inputs] if not shared else [inputs[0][:1], inputs[1][:1], inputs[2]]
    ours = crd_bank(*one, images, temperature, log_normalization=torch.tensor(normalization).double().log())
    assert_agree(ours, slow_bank(*one, images, temperature, normalization), inputs[0], rtol=1e-7)


@pytest.mark.parametrize("shared", [True, False])
def test_the_constant_makes_the_mean_one_over_the_images(shared: bool) -> None:
    embedding, positive, negatives = (x.detach() for x in bank(shared))
    log_z = crd_log_normalization(embedding.requires_grad_(), positive, negatives, 50, 0.3)
    assert not log_z.requires_grad
    scores = []
    for b, e in enumerate(embedding.detach()):
        e = e / e.norm()
        scores += [float(e @ positive[b]), *(e @ (negatives if shared else negatives[b]).T).tolist()]
    mean_odds = sum(math.exp(x / 0.3) for x in scores) / len(scores)
    assert log_z.item() == pytest.approx(math.log(50 * mean_odds), rel=1e-12)


def test_a_table_shared_by_the_batch_is_the_same_as_one_for_each() -> None:
    embedding, positive, negatives = bank(shared=True)
    each = negatives.expand(4, 5, 3)
    shared = crd_bank(embedding, positive, negatives, 9, log_normalization=3.0)
    assert_agree(shared, crd_bank(embedding, positive, each, 9, log_normalization=3.0), embedding)


def test_rows_by_number_are_the_same_as_gathered_ones() -> None:
    embedding, positive, table = bank(shared=True)
    drawn = torch.tensor([[0, 2, 2], [1, 1, 4], [3, 0, 2], [4, 3, 3]])
    by_number = crd_bank(embedding, positive, table, 9, log_normalization=3.0, drawn=drawn)
    assert_agree(by_number, crd_bank(embedding, positive, table[drawn], 9, log_normalization=3.0), embedding)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("temperature", [0.07, 1e-4])
def test_scores_of_any_size_stay_finite(dtype: torch.dtype, temperature: float) -> None:
    embedding = torch.tensor([[1e4, 0.0], [0.0, -1e4]], dtype=dtype, requires_grad=True)
    opposite = torch.tensor([[-1.0, 0.0], [0.0, 1.0]], dtype=dtype)
    log_z = crd_log_normalization(embedding, opposite, -opposite, 2, temperature)
    loss = crd_bank(embedding, opposite, -opposite, 2, temperature, log_normalization=log_z)
    both = loss + crd(embedding, opposite, temperature=temperature)
    both.backward()
    assert loss.item() > 1 / temperature
    assert both.dtype is torch.float32
    assert both.isfinite()
    assert embedding.grad is not None
    assert embedding.grad.isfinite().all()


@pytest.mark.parametrize("shape", [(4, 3), (3, 5, 2), (2,)])
def test_negatives_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    embedding = torch.zeros(2, 2)
    with pytest.raises(DocendoError, match=r"^crd_bank has embeddings of shape \(2, 2\) and negatives of shape"):
        crd_bank(embedding, embedding, torch.zeros(shape), 9, log_normalization=0.0)

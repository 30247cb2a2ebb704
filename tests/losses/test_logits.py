"""Formulas: every loss against a slow loop and a closed form of its gradient."""

import math

import pytest
import torch
from torch import Tensor

from docendo.losses import cross_entropy, hard_distillation, kd
from tests.losses.agreement import assert_agree, draw


def softmax(row: list[float]) -> list[float]:
    top = max(row)
    exps = [math.exp(x - top) for x in row]
    return [e / sum(exps) for e in exps]


def slow_kd(student: Tensor, teacher: Tensor, temperature: float) -> float:
    total = 0.0
    for s, t in zip(student.tolist(), teacher.tolist(), strict=True):
        p, q = softmax([x / temperature for x in s]), softmax([x / temperature for x in t])
        total += sum(b * (math.log(b) - math.log(a)) for a, b in zip(p, q, strict=True))
    return temperature**2 * total / len(student)


@pytest.fixture
def logits() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(5, 7, generator=generator, dtype=torch.float64) * 3 for _ in range(2))
    return student.requires_grad_(), teacher.requires_grad_()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_kd_is_the_slow_loop(logits: tuple[Tensor, Tensor], temperature: float) -> None:
    assert kd(*logits, temperature).item() == pytest.approx(slow_kd(*logits, temperature), rel=1e-12)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_kd_gradients_are_the_closed_forms(logits: tuple[Tensor, Tensor], temperature: float) -> None:
    student, teacher = logits
    kd(student, teacher, temperature, detach_target=False).backward()
    p, q = (student / temperature).softmax(1), (teacher / temperature).softmax(1)
    batch = len(student)
    torch.testing.assert_close(student.grad, temperature * (p - q).detach() / batch)
    gap = q * ((q / p).log() - (q * (q / p).log()).sum(1, keepdim=True))
    torch.testing.assert_close(teacher.grad, temperature * gap.detach() / batch)


def test_kd_leaves_the_teacher_alone_by_default(logits: tuple[Tensor, Tensor]) -> None:
    student, teacher = logits
    kd(student, teacher).backward()
    assert teacher.grad is None
    assert student.grad is not None


def test_kd_of_equal_logits_is_zero_and_shift_invariant(logits: tuple[Tensor, Tensor]) -> None:
    student, teacher = logits
    assert kd(student, student).item() == 0
    torch.testing.assert_close(kd(student + 5, teacher - 3), kd(student, teacher))


def test_kd_tends_to_logit_matching_at_high_temperature(logits: tuple[Tensor, Tensor]) -> None:
    student, teacher = ((x - x.mean(1, keepdim=True)).detach() for x in logits)
    matching = (student - teacher).square().sum(1).mean() / (2 * student.shape[1])  # Hinton et al., section 2.1
    torch.testing.assert_close(kd(student, teacher, 1e4), matching, rtol=1e-3, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_losses_survive_extreme_logits_in_any_precision(dtype: torch.dtype) -> None:
    student = torch.tensor([[1e4, 0.0, -1e4]], dtype=dtype, requires_grad=True)
    teacher = torch.tensor([[-1e4, 1e4, 0.0]], dtype=dtype)
    loss = kd(student, teacher) + cross_entropy(student, torch.tensor([2]))
    loss.backward()
    assert loss.item() == pytest.approx(16 * 1e4 / 4 + 2e4, rel=1e-2)
    assert student.grad is not None
    assert student.grad.isfinite().all()


def test_cross_entropy_of_one_sample_is_its_negative_log_probability() -> None:
    logits = torch.tensor([[0.3, -1.0, 2.0]], dtype=torch.float64)
    expected = -math.log(softmax(logits[0].tolist())[1])
    assert cross_entropy(logits, torch.tensor([1])).item() == pytest.approx(expected, rel=1e-12)


def slow_standardized(logits: Tensor) -> Tensor:
    rows = []
    for row in logits:
        mean = sum(row) / len(row)
        deviation = (sum((x - mean) ** 2 for x in row) / (len(row) - 1)) ** 0.5
        rows.append(torch.stack([(x - mean) / (deviation + 1e-7) for x in row]))
    return torch.stack(rows)


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_standardized_kd_is_kd_of_the_slow_loop(batch: int, temperature: float) -> None:
    student, teacher = draw((batch, 7), (batch, 7), scale=3)
    slow = [slow_standardized(x) for x in (student, teacher.detach())]
    assert_agree(kd(student, teacher, temperature, standardize=True), kd(*slow, temperature), student)
    both = kd(student, teacher, temperature, standardize=True, detach_target=False)
    slow = [slow_standardized(x) for x in (student, teacher)]
    assert_agree(both, kd(*slow, temperature, detach_target=False), student, teacher)


def test_standardized_kd_minds_neither_scale_nor_shift(logits: tuple[Tensor, Tensor]) -> None:
    student, teacher = logits
    moved = kd(30 * student - 2, teacher / 50 + 4, standardize=True)
    torch.testing.assert_close(moved, kd(student, teacher, standardize=True), rtol=1e-5, atol=0)
    assert (moved - kd(student, teacher)).abs() > 0.1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_standardized_kd_survives_extreme_logits(dtype: torch.dtype) -> None:
    student = torch.tensor([[1e4, 0.0, -1e4], [1e4, 1e4, 1e4]], dtype=dtype, requires_grad=True)
    teacher = torch.tensor([[-1.0, 1.0, 0.0], [-1.0, 1.0, 0.0]], dtype=dtype)
    kd(student, teacher, temperature=1.0, standardize=True).backward()
    p, q = (math.e ** torch.tensor(z) for z in ([1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]))
    first = kd(student[:1], teacher[:1], temperature=1.0, standardize=True)
    assert first.item() == pytest.approx(sum(q / q.sum() * (q / q.sum() * p.sum() / p).log()).item(), rel=1e-5)
    assert student.grad is not None
    assert student.grad.isfinite().all()


@pytest.mark.parametrize("batch", [1, 5])
def test_hard_distillation_takes_the_teachers_choice_as_a_label(batch: int) -> None:
    student, teacher = draw((batch, 7), (batch, 7), scale=3)
    loss = hard_distillation(student, teacher)
    choices = [row.index(max(row)) for row in teacher.tolist()]
    expected = -sum(math.log(softmax(row)[y]) for row, y in zip(student.tolist(), choices, strict=True)) / batch
    assert loss.item() == pytest.approx(expected, rel=1e-12)
    loss.backward()
    one_hot = torch.nn.functional.one_hot(torch.tensor(choices), 7)
    torch.testing.assert_close(student.grad, ((student.softmax(1) - one_hot) / batch).detach())

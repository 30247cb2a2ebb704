"""Decoupled distillation: a slow loop over classes, where it is plain distillation, and logits of any size."""

import pytest
import torch
from torch import Tensor

from docendo.losses import dkd, kd
from tests.losses.agreement import assert_agree, divergence, draw, mean, softmax, total


def slow(student: Tensor, teacher: Tensor, labels: Tensor, alpha: float, beta: float, temperature: float) -> Tensor:
    """Follow the paper: probabilities, the label's apart, the others' divided by their sum."""
    values = []
    for s, t, y in zip(student, teacher.detach(), labels.tolist(), strict=True):
        p, q = softmax(s, temperature), softmax(t, temperature)
        label_or_not = divergence([q[y], 1 - q[y]], [p[y], 1 - p[y]])
        others_p, others_q = p[:y] + p[y + 1 :], q[:y] + q[y + 1 :]
        others_p, others_q = ([x / total(others) for x in others] for others in (others_p, others_q))
        values.append(alpha * label_or_not + beta * divergence(others_q, others_p))
    return temperature**2 * mean(values)


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize(("alpha", "beta", "temperature"), [(1.0, 8.0, 4.0), (0.5, 2.0, 1.0), (0.0, 1.0, 2.0)])
def test_it_is_the_slow_loop(batch: int, alpha: float, beta: float, temperature: float) -> None:
    student, teacher = draw((batch, 7), (batch, 7), scale=3)
    labels = torch.arange(batch) * 3 % 7  # the first, some between, and the last
    ours = dkd(student, teacher, labels, alpha, beta, temperature)
    assert_agree(ours, slow(student, teacher, labels, alpha, beta, temperature), student)


def test_with_the_teachers_share_of_the_rest_as_its_weight_it_is_plain_distillation() -> None:
    student, teacher = draw((1, 7), (1, 7), scale=3)
    label = torch.tensor([2])
    rest = 1 - (teacher / 4).softmax(1)[0, 2].item()
    assert_agree(dkd(student, teacher, label, 1.0, rest), kd(student, teacher), student)


def test_of_two_classes_only_the_first_part_is_left() -> None:
    student, teacher = draw((4, 2), (4, 2))
    labels = torch.tensor([0, 1, 1, 0])
    assert_agree(dkd(student, teacher, labels, 1.0, 8.0), kd(student, teacher), student)


def test_equal_logits_cost_nothing() -> None:
    (logits,) = draw((4, 7))
    assert dkd(logits, logits, torch.arange(4)).item() == pytest.approx(0, abs=1e-14)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_extreme_logits_have_their_closed_form(dtype: torch.dtype) -> None:
    # The teacher is sure of class 1 and then of 2, the student of 0 and then of 1; the label is 0.
    student = torch.tensor([[1e4, 0.0, -1e4]], dtype=dtype, requires_grad=True)
    teacher = torch.tensor([[-1e4, 1e4, 0.0]], dtype=dtype)
    loss = dkd(student, teacher, torch.tensor([0]), alpha=1.0, beta=8.0, temperature=1.0)
    assert loss.item() == pytest.approx(1e4, rel=1e-2)  # -log(1 - p_0) = 1e4, and both pick class 1 of the rest
    turned = dkd(student, teacher, torch.tensor([1]), alpha=1.0, beta=8.0, temperature=1.0)
    assert turned.item() == pytest.approx(1e4 + 8 * 2e4, rel=1e-2)  # -log p_1; of the rest 2 against 0
    (loss + turned).backward()
    assert student.grad is not None
    assert student.grad.isfinite().all()
    assert student.grad[0, 0] > 0

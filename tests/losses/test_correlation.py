"""DIST and the two upper levels of MLKD: slow loops, what they leave free, closed forms at the extremes."""

import pytest
import torch
from torch import Tensor

from docendo.losses import batch_correlation, class_correlation, dist
from tests.losses.agreement import assert_agree, dot, draw, mean, softmax, total


def outputs(logits: Tensor, temperature: float) -> Tensor:
    return torch.stack([torch.stack(softmax(row, temperature)) for row in logits])


def pearson(x: Tensor, y: Tensor) -> Tensor:
    x, y = x - mean(list(x)), y - mean(list(y))
    return dot(x, y) / (dot(x, x).sqrt() * dot(y, y).sqrt())


def slow_dist(student: Tensor, teacher: Tensor, beta: float, gamma: float, temperature: float) -> Tensor:
    p, q = outputs(student, temperature), outputs(teacher.detach(), temperature)
    samples = mean([1 - pearson(a, b) for a, b in zip(p, q, strict=True)])
    classes = mean([1 - pearson(a, b) for a, b in zip(p.T, q.T, strict=True)])
    return temperature**2 * (beta * samples + gamma * classes)


@pytest.mark.parametrize("batch", [2, 5])
@pytest.mark.parametrize(("beta", "gamma", "temperature"), [(1.0, 1.0, 1.0), (2.0, 0.5, 4.0)])
def test_dist_is_the_slow_loop(batch: int, beta: float, gamma: float, temperature: float) -> None:
    student, teacher = draw((batch, 6), (batch, 6), scale=2)
    ours = dist(student, teacher, beta, gamma, temperature)
    assert_agree(ours, slow_dist(student, teacher, beta, gamma, temperature), student)


def test_dist_of_one_sample_has_no_relation_between_samples() -> None:
    student, teacher = draw((1, 6), (1, 6))
    within = dist(student, teacher, gamma=0.0, temperature=2.0)
    whole = dist(student, teacher, gamma=0.5, temperature=2.0)
    assert whole.item() == pytest.approx(within.item() + 0.5 * 4, rel=1e-12)
    both = [torch.autograd.grad(loss, student)[0] for loss in (within, whole)]
    torch.testing.assert_close(*both)


def test_dist_leaves_scale_and_shift_of_probabilities_free() -> None:
    q = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.35, 0.55]], dtype=torch.float64)
    flatter = (q + 1 / 3) / 2
    assert dist(flatter.log(), q.log()).item() == pytest.approx(0, abs=1e-12)
    assert dist((2 / 3 - q).log(), q.log()).item() == pytest.approx(4, abs=1e-12)  # all the other way round


def slow_products(rows_p: Tensor, rows_q: Tensor) -> Tensor:
    gaps = [
        dot(a, b) - dot(c, d) for a, c in zip(rows_p, rows_q, strict=True) for b, d in zip(rows_p, rows_q, strict=True)
    ]
    return total([g * g for g in gaps]) / len(rows_p)


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("temperature", [2.0, 4.0])
def test_mlkd_levels_are_the_slow_loops(batch: int, temperature: float) -> None:
    student, teacher = draw((batch, 6), (batch, 6), scale=3)
    p, q = outputs(student, temperature), outputs(teacher.detach(), temperature)
    assert_agree(batch_correlation(student, teacher, temperature), slow_products(p, q), student)
    assert_agree(class_correlation(student, teacher, temperature), slow_products(p.T, q.T), student)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_extreme_logits_have_their_closed_forms(dtype: torch.dtype) -> None:
    # One-hot outputs: the student says 0, 1, 1 and the teacher 0, 1, 2.
    student = (torch.eye(3, dtype=dtype)[[0, 1, 1]] * 1e4).requires_grad_()
    teacher = torch.eye(3, dtype=dtype) * 1e4
    # Samples: 1, 1, -1/2. Classes: 1, 1/2 (0,1,1 against 0,1,0), 0 (nothing against 0,0,1).
    assert dist(student, teacher).item() == pytest.approx((1 - 0.5) + (1 - 0.5), rel=1e-5)
    assert batch_correlation(student, teacher).item() == pytest.approx(2 / 3, rel=1e-5)
    assert class_correlation(student, teacher).item() == pytest.approx((1 + 1) / 3, rel=1e-5)
    (dist(student, teacher) + batch_correlation(student, teacher) + class_correlation(student, teacher)).backward()
    assert student.grad is not None
    assert student.grad.isfinite().all()

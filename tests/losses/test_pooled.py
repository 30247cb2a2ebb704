"""The distance of pooled features against a slow loop, its closed-form gradient, and extremes."""

import pytest
import torch
from torch import Tensor

from docendo.losses import feature_distance

REDUCTIONS = pytest.mark.parametrize("reduction", ["sum", "mean", "batchmean"])
DIVISORS = {"sum": 1, "mean": 15, "batchmean": 3}


@pytest.fixture
def features() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(3, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    return student.requires_grad_(), teacher.requires_grad_()


@REDUCTIONS
def test_it_is_the_slow_loop(features: tuple[Tensor, Tensor], reduction: str) -> None:
    total = 0.0
    for f, t in zip(*(x.tolist() for x in features), strict=True):
        total += sum((a - b) ** 2 for a, b in zip(f, t, strict=True))
    assert feature_distance(*features, reduction).item() == pytest.approx(total / DIVISORS[reduction], rel=1e-12)  # type: ignore[arg-type]


@REDUCTIONS
def test_its_gradient_is_the_closed_form_and_the_teacher_has_none(
    features: tuple[Tensor, Tensor], reduction: str
) -> None:
    student, teacher = features
    feature_distance(student, teacher, reduction).backward()  # type: ignore[arg-type]
    torch.testing.assert_close(student.grad, 2 * (student - teacher).detach() / DIVISORS[reduction])
    assert teacher.grad is None


def test_one_sample_has_one_value_for_sum_and_mean_over_the_batch() -> None:
    student, teacher = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[1.0, 0.0, 0.0]])
    assert feature_distance(student, teacher).item() == feature_distance(student, teacher, "sum").item() == 13


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_it_survives_extremes_in_any_precision(dtype: torch.dtype) -> None:
    student = torch.tensor([[1e4, 0.0, -1e4]], dtype=dtype, requires_grad=True)
    loss = feature_distance(student, torch.tensor([[-1e4, 0.0, 1e4]], dtype=dtype), "sum")
    loss.backward()
    assert loss.item() == pytest.approx(2 * 4e8, rel=1e-2)
    assert student.grad is not None
    assert student.grad.isfinite().all()

"""Decoupled distillation: how its weight rises, and where it is plain distillation."""

import pytest
import torch

from docendo.core import Batch, Output
from docendo.methods import DKD, KD, METHODS, make

B, CLASSES = 6, 2


def outputs() -> tuple[Output, Output]:
    torch.manual_seed(0)
    student, teacher = (torch.randn(B, CLASSES, dtype=torch.float64) for _ in range(2))
    return Output(student, student, ()), Output(teacher, teacher, ())


def batch(progress: float) -> Batch:
    return Batch.of(torch.zeros(B, 1, 2, 2), torch.arange(B) % CLASSES)._replace(progress=progress)


@pytest.mark.parametrize(
    ("warmup", "weights"),
    [
        (0.25, {0.0: 0.05, 0.0125: 0.05, 0.125: 0.5, 0.25: 1.0, 0.9: 1.0}),
        (1.0, {0.0: 0.05, 0.5: 0.5, 1.0: 1.0}),
        (0.0, {0.0: 1.0, 0.5: 1.0}),
    ],
)
def test_its_weight_rises_in_the_warm_up(warmup: float, weights: dict[float, float]) -> None:
    lesson = DKD(warmup=warmup).lesson(None, None)
    for progress, weight in weights.items():
        (term,) = lesson.terms(None, batch(progress), *outputs())  # type: ignore[arg-type]  # no network is asked
        assert term.weight == pytest.approx(weight)


def test_of_two_classes_it_is_plain_distillation() -> None:
    (decoupled,) = DKD(alpha=1, beta=5).lesson(None, None).terms(None, batch(1.0), *outputs())  # type: ignore[arg-type]
    (plain,) = KD().lesson(None, None).terms(None, batch(1.0), *outputs())  # type: ignore[arg-type]
    torch.testing.assert_close(decoupled.value, plain.value)
    assert plain.value > 0.1


def test_it_is_found_by_name() -> None:
    assert METHODS["dkd"] is DKD
    assert make("dkd", {"beta": "2"}) == DKD(beta=2)

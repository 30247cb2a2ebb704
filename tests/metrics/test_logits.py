"""Measures of logits: proper scores, calibration, fidelity, tolerance, classes."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import sklearn.metrics
import torch
from torch import Tensor

from docendo.errors import DocendoError
from docendo.metrics import (
    Accuracy,
    accuracy_of,
    agreement,
    brier_score,
    calibration_error,
    class_accuracy,
    class_changes,
    confused_pairs,
    confusion,
    divergence,
    negative_log_likelihood,
    reliability,
    tolerance,
)


def drawn(seed: int, images: int = 200, classes: int = 7, scale: float = 2.0) -> tuple[Tensor, Tensor]:
    """Give logits and labels, of which the likely ones are drawn more often."""
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(images, classes, generator=generator)
    return logits, logits.softmax(1).multinomial(1, generator=generator)[:, 0]


def error_of(logits: Tensor, labels: Tensor, bins: int = 15) -> float:
    return calibration_error(reliability(logits, labels, bins))


MEASURES: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "negative_log_likelihood": negative_log_likelihood,
    "brier_score": brier_score,
    "calibration_error": error_of,
    "confusion": lambda logits, labels: confusion(logits, labels).tolist(),
    "class_changes": lambda logits, labels: class_changes(logits, logits.flip(0), labels),
    "agreement": lambda logits, labels: agreement(logits, logits.flip(0)),
    "divergence": lambda logits, labels: divergence(logits, logits.flip(0)),
    "tolerance": lambda logits, labels: tolerance(logits, 3),
}
every = pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)


def test_scores_are_those_of_scikit_learn() -> None:
    logits, labels = drawn(0)
    p, classes = logits.double().softmax(1).numpy(), list(range(7))
    assert negative_log_likelihood(logits, labels) == pytest.approx(sklearn.metrics.log_loss(labels, p, labels=classes))
    brier = sklearn.metrics.brier_score_loss(labels, p, labels=classes, scale_by_half=False)
    assert brier_score(logits, labels) == pytest.approx(brier)
    assert (confusion(logits, labels).numpy() == sklearn.metrics.confusion_matrix(labels, p.argmax(1))).all()


def test_scores_of_the_sure_and_the_unsure() -> None:
    unsure, labels = torch.zeros(3, 4), torch.tensor([0, 1, 2])
    assert negative_log_likelihood(unsure, labels) == pytest.approx(math.log(4))
    assert brier_score(unsure, labels) == pytest.approx(1 - 1 / 4)
    sure = 1e4 * torch.eye(4)[:3]
    assert (negative_log_likelihood(sure, labels), brier_score(sure, labels)) == (0, 0)
    assert (negative_log_likelihood(-sure, labels), brier_score(sure.roll(1, 1), labels)) == (1e4 + math.log(3), 2)


def test_accuracy_of_logits() -> None:
    logits = torch.tensor([[9.0, 8, 7, 6, 5, 4], [9.0, 8, 7, 6, 5, 4], [9.0, 8, 7, 6, 5, 4]])
    assert accuracy_of(logits, torch.tensor([0, 4, 5])) == Accuracy(1 / 3, 2 / 3, 3)


def slow_calibration_error(logits: Tensor, labels: Tensor, bins: int) -> float:
    found = 0.0
    for b in range(bins):
        inside = []
        for row, label in zip(logits.double().softmax(1).tolist(), labels.tolist(), strict=True):
            if b / bins < max(row) <= (b + 1) / bins:
                inside.append(max(row) - (row.index(max(row)) == label))
        found += abs(sum(inside)) / len(labels)
    return found


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_calibration_error_is_that_of_a_slow_loop(bins: int) -> None:
    logits, labels = drawn(1)
    assert error_of(3 * logits, labels, bins) == pytest.approx(slow_calibration_error(3 * logits, labels, bins))


def test_who_says_what_is_true_is_calibrated_and_who_exaggerates_is_not() -> None:
    logits, labels = drawn(2, images=50_000, classes=3)
    assert error_of(logits, labels) < 0.01
    assert error_of(4 * logits, labels) > 0.1
    confident = [bar for bar in reliability(4 * logits, labels) if bar.accuracy is not None]
    assert all(bar.confidence > bar.accuracy for bar in confident if bar.images > 200)


def test_the_bars_of_a_reliability_diagram() -> None:
    half = torch.tensor([[0.5, 0.5], [0.5, 0.5], [1.0, 1e-30]]).log()
    first, second = reliability(half, torch.tensor([0, 1, 0]), bins=2)
    assert first == (0, 0.5, 2, 0.5, 0.5)  # upper edges belong to a bar, lower ones do not
    assert second == (0.5, 1, 1, 1, 1)
    assert reliability(half, torch.tensor([0, 1, 0]), bins=5)[0] == (0, 0.2, 0, None, None)
    with pytest.raises(DocendoError, match=r"0 bins has no place for images: give 1 or more"):
        reliability(half, torch.tensor([0, 1, 0]), bins=0)
    with pytest.raises(DocendoError, match="without images is not defined"):
        calibration_error(reliability(half, torch.tensor([0, 1, 0]), bins=5)[:1])


def test_fidelity() -> None:
    student, teacher = drawn(3)[0], drawn(4)[0]
    p, q = student.double().softmax(1), teacher.double().softmax(1)
    slow = sum(float(b) * math.log(b / a) for a, b in zip(p.flatten(), q.flatten(), strict=True)) / len(p)
    assert divergence(student, teacher) == pytest.approx(slow)
    assert divergence(student, student) == 0
    same = sum(int(a.argmax() == b.argmax()) for a, b in zip(p, q, strict=True)) / len(p)
    assert agreement(student, teacher) == same
    assert agreement(student, 5 * student + 1) == 1
    with pytest.raises(DocendoError, match=r"agreement compares logits \(200, 7\) with \(200, 5\): both networks need"):
        agreement(student, teacher[:, :5])


@pytest.mark.parametrize("k", [2, 3, 7])
def test_tolerance_is_that_of_a_slow_loop(k: int) -> None:
    logits = drawn(5)[0]
    found, differences, entropies = tolerance(logits, k), [], []
    for row in logits.double().softmax(1).tolist():
        best = sorted(row, reverse=True)
        differences.append(best[0] - sum(best[1:k]) / (k - 1))
        entropies.append(-sum(p * math.log(p) for p in row))
    assert found.difference == pytest.approx(sum(differences) / len(logits))
    assert found.entropy == pytest.approx(sum(entropies) / len(logits))
    assert found.difference == pytest.approx(found.top - found.secondary / (k - 1))
    if k == 7:
        assert found.top + found.secondary == pytest.approx(1)


def test_the_ends_of_tolerance() -> None:
    strict, even = tolerance(1e4 * torch.eye(6), 5), tolerance(torch.zeros(2, 6), 5)
    assert strict == (1, 0, 1, 0, 5)
    assert even[:4] == pytest.approx((1 / 6, 4 / 6, 0, math.log(6)))
    for k in (1, 7):
        with pytest.raises(DocendoError, match=f"k={k} classes, but there are 6: set k from 2 to 6"):
            tolerance(torch.zeros(2, 6), k)


def test_confused_pairs() -> None:
    counts = torch.tensor([[5, 2, 0, 0], [4, 5, 1, 0], [0, 6, 5, 0], [0, 0, 0, 0]])
    assert [tuple(pair) for pair in confused_pairs(counts)] == [(2, 1, 6, 1), (1, 0, 4, 2)]
    assert len(confused_pairs(counts, most=1)) == 1
    assert confused_pairs(torch.eye(3, dtype=torch.int64)) == ()
    assert class_accuracy(counts) == (5 / 7, 5 / 10, 5 / 11, None)


def test_gains_and_losses_add_up() -> None:
    before, labels = drawn(6)
    after = before + drawn(7)[0]
    changes = class_changes(before, after, labels)
    was, now = (class_accuracy(confusion(logits, labels)) for logits in (before, after))
    assert sum(changes.gained) > 0
    assert sum(changes.lost) > 0
    for images, gained, lost, old, new in zip(*changes, was, now, strict=True):
        assert new - old == pytest.approx((gained - lost) / images)
    assert class_changes(before, before, labels).gained == class_changes(before, before, labels).lost == (0,) * 7


@every
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_measured_as_the_same_numbers_in_float64(measure: Any, dtype: torch.dtype) -> None:
    logits, labels = drawn(8)
    short = logits.to(dtype)
    assert measure(short, labels) == measure(short.double(), labels)


@every
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_huge_logits_give_finite_numbers(measure: Any, dtype: torch.dtype) -> None:
    logits, labels = drawn(9)
    huge = (1e4 * logits.sign() + logits).to(dtype)
    for value in torch.tensor(measure(huge, labels), dtype=torch.float64).flatten().tolist():
        assert math.isfinite(value)


@every
def test_who_needs_what_is_said(measure: Any) -> None:
    logits, labels = drawn(10)
    broken = logits.clone()
    broken[[3, 5], 1] = torch.tensor([math.nan, math.inf])
    with pytest.raises(DocendoError, match=r"got infinite ones or NaN for 2 of 200 images: the network has diverged"):
        measure(broken, labels)
    with pytest.raises(DocendoError, match=r"needs logits \(N, K\) of one image or more, got \(0, 7\)"):
        measure(logits[:0], labels[:0])


@pytest.mark.parametrize("measure", ["negative_log_likelihood", "brier_score", "confusion", "class_changes"])
def test_labels_must_fit(measure: str) -> None:
    logits, labels = drawn(11)
    with pytest.raises(DocendoError, match=rf"{measure} compares logits \(200, 7\) with labels \(199,\)"):
        MEASURES[measure](logits, labels[1:])
    for wrong in (7, -1):
        labels[0] = wrong
        with pytest.raises(DocendoError, match=rf"{measure} got labels from .* but logits of 7 classes"):
            MEASURES[measure](logits, labels)

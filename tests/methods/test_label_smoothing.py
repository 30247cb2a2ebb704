"""Label smoothing: who learns from whom, and its limit. The formula is tested among the losses."""

from collections.abc import Callable

import pytest

import docendo
from docendo.methods import LabelSmoothing
from tests.conftest import same, weights

ALL = {"student.stage1", "student.stage2", "student.stage3", "student.head"}


@pytest.mark.parametrize("eta", [0.8, 1.0])
def test_gradient_matrix(eta: float) -> None:
    (plan,) = docendo.explain(LabelSmoothing(eta), set={"data.train_images": 20}).phases
    assert {t.name: set(t.reaches) for t in plan.terms} == {
        "student<labels:ce": ALL,
        "student<labels:smoothing": ALL,
    }
    assert [term.weight for term in plan.terms] == pytest.approx([eta, 1 - eta])
    assert plan.reads == {}


def test_only_with_eta_of_1_it_is_plain_training(small_run: Callable[..., docendo.Run]) -> None:
    plain = weights(small_run("plain", "plain").folder, "student")
    assert same(plain, weights(small_run(LabelSmoothing(1), "off").folder, "student"))
    assert not same(plain, weights(small_run(LabelSmoothing(), "on").folder, "student"))

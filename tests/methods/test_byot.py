"""BYOT: who learns from whom under every switch, the released loss, and its limits."""

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

import docendo
from docendo.branches import Heads
from docendo.core import Batch, LossTerm, Output
from docendo.engine import PhasePlan
from docendo.methods import BYOT
from tests.conftest import same, weights

SmallRun = Callable[..., docendo.Run]


def plan(**switches: Any) -> PhasePlan:
    return docendo.explain(BYOT(**switches), set={"data.train_images": 200}).phases[0]


FIRST = {"student.stage1", "classifiers.stage1"}
SECOND = {"student.stage1", "student.stage2", "classifiers.stage2"}
MATRIX = {
    "student<labels:ce": {"student.stage1", "student.stage2", "student.stage3", "student.head"},
    **{f"classifiers.stage1<{what}": FIRST for what in ("labels:ce", "student:kd", "student:feature")},
    **{f"classifiers.stage2<{what}": SECOND for what in ("labels:ce", "student:kd", "student:feature")},
}


@pytest.mark.parametrize(
    "switches", [{}, {"scale_kl": True}, {"alpha": 1}, {"alpha": 0, "feature": 0}, {"head_weights": "1,0"}]
)
def test_gradient_matrix(switches: dict[str, Any]) -> None:
    assert {term.name: set(term.reaches) for term in plan(**switches).terms} == MATRIX


@pytest.mark.parametrize(("switches", "divergence"), [({}, 0.3 / 9), ({"scale_kl": True}, 0.3)])
def test_weights_are_those_of_the_released_code(switches: dict[str, Any], divergence: float) -> None:
    each = {"labels:ce": 0.7, "student:kd": divergence, "student:feature": 0.03}
    assert {term.name: term.weight for term in plan(**switches).terms} == {
        "student<labels:ce": 1.0,
        **{f"classifiers.{stage}<{what}": w for stage in ("stage1", "stage2") for what, w in each.items()},
    }


def test_head_weights_are_of_the_classifier_on_that_stage() -> None:
    terms = {term.name: term.weight for term in plan(alpha=0, feature=1, head_weights="3,0.5").terms}
    assert terms["student<labels:ce"] == 1
    assert terms["classifiers.stage1<labels:ce"] == terms["classifiers.stage1<student:feature"] == 3
    assert terms["classifiers.stage2<labels:ce"] == terms["classifiers.stage2<student:feature"] == 0.5


def test_the_gradient_is_that_of_the_released_loss() -> None:
    """Theirs is a soft cross-entropy, which is larger by the entropy of the teacher: a constant, as it is detached."""
    generator = torch.Generator().manual_seed(1)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()

    z, t, z_i, f_i, labels = draw(5, 7), draw(5, 4), draw(5, 7), draw(5, 4), torch.tensor([0, 3, 6, 2, 2])
    net: Any = SimpleNamespace(
        student=lambda batch: Output(z, t, ()), classifiers=lambda stages: Heads({"stage1": Output(z_i, f_i, ())}, t)
    )
    terms: list[LossTerm] = list(BYOT().losses(net, Batch.of(torch.zeros(5, 1, 1, 1), labels)))
    ours: Any = sum(term.weight * term.value for term in terms)
    soft = -((z.detach() / 3).softmax(1) * (z_i / 3).log_softmax(1)).sum(1).mean()
    hard = [-x.log_softmax(1)[range(5), labels].mean() for x in (z, z_i)]
    squared = (f_i - t.detach()).square().sum() / 5
    theirs = hard[0] + 0.7 * hard[1] + 0.3 * soft + 0.03 * squared
    for a, b in zip(torch.autograd.grad(ours, [z, z_i, f_i]), torch.autograd.grad(theirs, [z, z_i, f_i]), strict=True):
        torch.testing.assert_close(a, b)
    q = (z / 3).softmax(1)
    entropy = -(q * q.log()).sum(1).mean()
    assert (theirs - ours).item() == pytest.approx(0.3 * entropy.item())
    assert torch.autograd.grad(ours, [t], allow_unused=True)[0] is None


def test_without_weight_on_the_classifiers_training_is_plain(small_run: SmallRun) -> None:
    off, plain = small_run(BYOT(head_weights="0"), "off"), small_run("plain", "plain")
    on = small_run("byot", "on")
    assert same(weights(off.folder, "student"), weights(plain.folder, "student"))
    assert not same(weights(on.folder, "student"), weights(plain.folder, "student"))


def test_each_classifier_is_measured_after_every_epoch_and_none_is_kept(small_run: SmallRun) -> None:
    run = small_run("byot")
    rows = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    for row in rows:
        assert {"val_top1/student", "val_top1/classifiers.stage1", "val_top1/classifiers.stage2"} <= row.keys()
    assert [path.name for path in run.folder.glob("*.safetensors")] == ["student.safetensors"]
    assert not [key for key in weights(run.folder, "student") if "classifiers" in key]

"""TESKD: who learns from whom under every switch, its closed forms, and its limits."""

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

import docendo
from docendo.branches import Heads, Pyramid
from docendo.core import Batch, LossTerm, Output
from docendo.engine import PhasePlan
from docendo.engine.networks import together
from docendo.errors import DocendoError
from docendo.methods import TESKD
from docendo.networks import create, load
from tests.conftest import Said, same, weights

SmallRun = Callable[..., docendo.Run]


def plan(**switches: Any) -> PhasePlan:
    return docendo.explain(TESKD(**switches), set={"data.train_images": 200}).phases[0]


STAGES = {"student.stage1", "student.stage2", "student.stage3"}
SECOND = {*STAGES, "pyramid.level2", "pyramid.level3", "pyramid.stage2"}
FIRST = {*STAGES, "pyramid.level1", "pyramid.level2", "pyramid.level3", "pyramid.stage1"}
LIVE = {
    "student<labels:ce": {*STAGES, "student.head"},
    "pyramid.stage1<labels:ce": FIRST,
    "pyramid.stage1<student:kd": {*FIRST, "student.head"},
    "pyramid.stage1<student:feature": FIRST,
    "pyramid.stage2<labels:ce": SECOND,
    "pyramid.stage2<student:kd": {*SECOND, "student.head"},
    "pyramid.stage2<student:feature": SECOND,
}
DETACHED = {**LIVE, "pyramid.stage1<student:kd": FIRST, "pyramid.stage2<student:kd": SECOND}


@pytest.mark.parametrize(
    ("switches", "expected"),
    [
        ({}, LIVE),
        ({"detach_target": True}, DETACHED),
        ({"feature_reduction": "mean"}, LIVE),
        ({"feature_reduction": "mean", "detach_target": True}, DETACHED),
        ({"head_weights": "1,0", "temperature": 3}, LIVE),
        ({"kd": 0, "feature": 0}, LIVE),
    ],
)
def test_gradient_matrix(switches: dict[str, Any], expected: dict[str, set[str]]) -> None:
    assert {term.name: set(term.reaches) for term in plan(**switches).terms} == expected


def test_weights_are_those_of_the_released_code() -> None:
    each = {"labels:ce": 0.2, "student:kd": 0.8, "student:feature": 1e-7}
    assert {term.name: term.weight for term in plan().terms} == {
        "student<labels:ce": 0.2,
        **{f"pyramid.{stage}<{what}": w for stage in ("stage1", "stage2") for what, w in each.items()},
    }


def test_head_weights_are_of_the_helper_on_that_stage() -> None:
    terms = {term.name: term.weight for term in plan(ce=1, kd=1, feature=1, head_weights="3,0.5").terms}
    factors = {"student": 1, "pyramid.stage1": 3, "pyramid.stage2": 0.5}
    assert terms == {name: factors[name.partition("<")[0]] for name in LIVE}


def test_what_nobody_learns_from_stays_as_it_is() -> None:
    assert not plan().idle
    off = plan(head_weights="0").idle
    assert off
    assert all(name.split(".")[1] == "pyramid" for name in off)
    only_second = {name.split(".")[2] for name in plan(head_weights="0,1").idle}
    assert only_second == {"level1", "stage1"}


class Scripted:
    """Networks that say what they are told, in place of a phase's."""

    def __init__(self, **switches: Any) -> None:
        generator = torch.Generator().manual_seed(1)

        def draw(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64).mul_(2).requires_grad_()

        self.method, self.batch = TESKD(**switches), 5
        self.z, self.t = draw(self.batch, 7), draw(self.batch, 4)
        self.heads = {f"stage{i}": Output(draw(self.batch, 7), draw(self.batch, 4), ()) for i in (1, 2, 3)}
        self.labels = torch.tensor([0, 3, 6, 2, 2])

    @property
    def terms(self) -> dict[str, LossTerm]:
        net: Any = SimpleNamespace(
            student=lambda batch: Output(self.z, self.t, ()), pyramid=lambda stages: Heads(self.heads, self.t)
        )
        batch = Batch.of(torch.zeros(self.batch, 1, 1, 1), self.labels)
        return {term.name: term for term in self.method.losses(net, batch)}


@pytest.mark.parametrize("temperature", [1.0, 3.0, 4.0])
def test_gradients_of_the_divergence_are_the_closed_forms(temperature: float) -> None:
    said = Scripted(temperature=temperature)
    said.terms["pyramid.stage2<student:kd"].value.backward()
    z_i = said.heads["stage2"].logits
    p, q = (z_i / temperature).softmax(1), (said.z / temperature).softmax(1)
    gap = (q / p).log() - (q * (q / p).log()).sum(1, keepdim=True)
    torch.testing.assert_close(z_i.grad, (temperature * (p - q) / said.batch).detach())
    torch.testing.assert_close(said.z.grad, (temperature * q * gap / said.batch).detach())
    assert said.heads["stage1"].logits.grad is None


def test_a_detached_divergence_leaves_the_network_alone() -> None:
    said = Scripted(detach_target=True)
    said.terms["pyramid.stage2<student:kd"].value.backward()
    assert said.z.grad is None
    assert said.heads["stage2"].logits.grad is not None


@pytest.mark.parametrize(("reduction", "divisor"), [("sum", 1), ("mean", 20)])
def test_the_feature_loss_teaches_the_helper_alone(reduction: str, divisor: int) -> None:
    said = Scripted(feature_reduction=reduction)
    term = said.terms["pyramid.stage3<student:feature"]
    assert term.over_batch == reduction
    term.value.backward()
    f = said.heads["stage3"].pooled
    torch.testing.assert_close(f.grad, (2 * (f - said.t) / divisor).detach())
    assert said.t.grad is None


def test_the_value_is_that_of_the_released_loss() -> None:
    said = Scripted()
    ours = sum(term.weight * term.value.item() for term in said.terms.values())

    def ce(z: Tensor) -> float:
        return sum(-z[b].log_softmax(0)[y].item() for b, y in enumerate(said.labels)) / said.batch

    theirs = 0.2 * ce(said.z)
    for head in said.heads.values():
        q = (said.z / 4).softmax(1) + 1e-7  # their guard against log(0), which is left out here
        kl = (q * (q.log() - (head.logits / 4).log_softmax(1))).sum().item() / said.batch
        distance = sum((f - t) ** 2 for f, t in zip(head.pooled.flatten(), said.t.flatten(), strict=True)).item()
        theirs += 0.2 * ce(head.logits) + 0.8 * 16 * kl + 1e-7 * distance
    assert ours == pytest.approx(theirs, abs=2e-4)


@pytest.fixture
def joint() -> Any:
    torch.manual_seed(0)
    student = create("ResNet18w16", classes=10, image_size=16)
    return {"student": student, "pyramid": Pyramid(student)}


def gradients(joint: Any, term: str, **switches: Any) -> tuple[Tensor, Tensor | None]:
    """Give one term's gradient on the first layer and on the classifier of the network."""
    batch = Batch.of(torch.randn(8, 3, 16, 16), torch.arange(8))
    terms = {t.name: t.value for t in TESKD(**switches).losses(together(joint, {}, batch), batch)}
    joint["student"].zero_grad()
    terms[term].backward()
    return joint["student"].conv1.weight.grad, joint["student"].linear.weight.grad


def test_what_helpers_learn_reaches_the_first_stage_but_not_the_classifier(joint: Any) -> None:
    first, classifier = gradients(joint, "pyramid.stage1<labels:ce")
    assert first.any()
    assert classifier is None
    first, classifier = gradients(joint, "pyramid.stage1<student:kd")
    assert first.any()
    assert classifier is not None
    assert classifier.any()
    first, classifier = gradients(joint, "pyramid.stage1<student:kd", detach_target=True)
    assert first.any()
    assert classifier is None


def test_the_deployed_network_says_what_it_said_beside_its_helpers(small_run: SmallRun, joint: Any) -> None:
    images = torch.randn(3, 3, 16, 16)
    for module in joint.values():
        module.eval()
    batch = Batch.of(images, torch.arange(3))
    net: Any = together(joint, {}, batch)
    said = TESKD().predictions(net, batch)
    assert list(said) == ["pyramid.stage1", "pyramid.stage2", "pyramid.stage3"]
    alone = create("ResNet18w16", classes=10, image_size=16).eval()
    alone.load_state_dict(joint["student"].state_dict())
    assert torch.equal(alone(images).logits, net.student(batch).logits)

    run = small_run("teskd")
    assert [path.name for path in run.folder.glob("*.safetensors")] == ["student.safetensors"]
    assert weights(run.folder, "student").keys() == create("resnet8", classes=10, channels=1).state_dict().keys()
    assert load(run.folder / "student.safetensors").spec.architecture == "resnet8"


def test_without_weight_on_the_helpers_training_is_plain(small_run: SmallRun) -> None:
    off = small_run(TESKD(ce=1, head_weights="0"), "off")
    zeros = small_run(TESKD(ce=1, head_weights="0,0", detach_target=True, feature_reduction="mean"), "zeros")
    plain, on = small_run("plain", "plain"), small_run(TESKD(ce=1), "on")
    assert same(weights(off.folder, "student"), weights(plain.folder, "student"))
    assert same(weights(zeros.folder, "student"), weights(plain.folder, "student"))
    assert not same(weights(on.folder, "student"), weights(plain.folder, "student"))


def test_each_helper_is_measured_after_every_epoch(small_run: SmallRun) -> None:
    run = small_run("teskd", epochs=3)
    rows = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    assert len(rows) == 3
    for row in rows:
        measured = {name: row[name] for name in row if name.startswith("val_top1/")}
        assert list(measured) == ["val_top1/student", "val_top1/pyramid.stage1", "val_top1/pyramid.stage2"]
        assert all(0 <= top1 <= 1 for top1 in measured.values())


def test_giant_layers_are_warned_of_before_training(small_run: SmallRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("docendo.branches.pyramid.GIANT", 50_000)
    warning = (
        "warning: the pyramid's stage1 has a layer of 0 million weights; "
        "a network with fewer channels in its last stage makes it smaller"
    )
    assert docendo.explain("teskd", set={"data.train_images": 200}).notes == (warning,)
    told = Said()
    small_run("teskd", progress=told)
    assert told.lines.count(warning) == 1


def test_settings_come_from_the_command_line_and_are_checked() -> None:
    plans = docendo.explain("teskd", set={"data.train_images": 200, "head_weights": "1,0.5"}).phases
    assert plans[0].terms[-2].weight == 0.4
    with pytest.raises(DocendoError, match="must be one number of at least 0, or 2 with commas between, for stage1"):
        docendo.explain("teskd", set={"data.train_images": 200, "head_weights": "1,1,1"})
    with pytest.raises(DocendoError, match="teskd: feature_reduction is 'max', but must be sum or mean"):
        docendo.explain("teskd", set={"feature_reduction": "max"})

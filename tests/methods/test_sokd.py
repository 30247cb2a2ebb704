"""SOKD: two problems that share their targets; what is frozen, what moves, and what comes out."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import docendo
from docendo.branches import new_top, with_top
from docendo.core import Batch, Build, LossTerm, Networks, Output, Phase, Train
from docendo.data import DataSettings, Expectation, load
from docendo.engine import PhasePlan
from docendo.engine.networks import Cast
from docendo.errors import DocendoError, Interrupted
from docendo.losses import attention_transfer, cross_entropy, hint, kd
from docendo.methods import SOKD, make
from docendo.metrics import evaluate
from docendo.networks import create, read, save
from tests.conftest import StopAt, same, weights
from tests.tiny import cast

SmallRun = Callable[..., docendo.Run]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained teacher's file: its statistics are not those of a new network."""
    torch.manual_seed(0)
    network = create("resnet8", classes=10, channels=1, image_size=8)
    data = load(DataSettings(train_images=200))
    with torch.no_grad():
        for batch in data.train.batches(50):
            network(batch.images * 1.5)
    path = tmp_path_factory.mktemp("teacher") / "teacher.safetensors"
    save(network, path, class_names=data.classes, mean=data.mean, std=data.std, role="teacher")
    return path


def plan_of(method: SOKD, **named: Any) -> PhasePlan:
    return docendo.explain(method, set={"data.train_images": 20}, **named).phases[-1]


STUDENT = {"student.stage1", "student.stage2", "student.stage3", "student.head"}
MATRIX = {
    "bridge<labels:ce": {"bridge.stage1", "bridge.head"},
    "bridge<teacher:kd": {"bridge.stage1", "bridge.head"},
    "bridge<student:kd": {"bridge.stage1", "bridge.head"},
    "student<labels:ce": STUDENT,
    "student<bridge:kd": STUDENT,
}


def with_bridge(*parts: str) -> dict[str, set[str]]:
    return {name: {*parts} if name.startswith("bridge") else reaches for name, reaches in MATRIX.items()}


@pytest.mark.parametrize(
    ("switches", "expected", "stage"),
    [
        ({}, MATRIX, "stages.1"),
        ({"bridge_init": "trained"}, MATRIX, "stages.1"),
        ({"frozen_statistics": "batch"}, MATRIX, "stages.1"),
        ({"temperature": 3, "bridge_rate": 0.5}, MATRIX, "stages.1"),
        ({"split": 0}, with_bridge("bridge.head"), "stages.2"),
        ({"split": 2}, with_bridge("bridge.stage1", "bridge.stage2", "bridge.head"), "stages.0"),
        (
            {"transfer": "at"},
            {**MATRIX, "student<bridge:at": STUDENT - {"student.head"}, "bridge<student:at": {"bridge.stage1"}},
            "stages.1",
        ),
        (
            {"transfer": "hint"},
            {
                **MATRIX,
                "student<bridge:hint maps": {*STUDENT - {"student.head"}, "student_adapter.1"},
                "student<bridge:hint pooled": {*STUDENT - {"student.head"}, "student_adapter.pooled"},
                "bridge<student:hint maps": {"bridge.stage1", "bridge_adapter.1"},
                "bridge<student:hint pooled": {"bridge.stage1", "bridge_adapter.pooled"},
            },
            "stages.1",
        ),
    ],
)
def test_gradient_matrix(switches: dict[str, Any], expected: dict[str, set[str]], stage: str) -> None:
    plan = plan_of(SOKD(**switches))
    assert {term.name: set(term.reaches) for term in plan.terms} == expected
    assert plan.reads == {"teacher": {"logits", stage}}


@pytest.mark.parametrize("transfer", ["at", "hint"])
def test_features_of_tokens_are_compared_with_those_of_maps(transfer: Any) -> None:
    plan = plan_of(SOKD(transfer=transfer), **cast("tokens", ("teacher", "student")))
    assert len(plan.terms) == {"at": 7, "hint": 9}[transfer]


def test_kd_can_be_added_too_and_terms_say_who_teaches() -> None:
    names = [term.name for term in plan_of(make("sokd", {"add": "kd", "kd.standardize": True})).terms]
    assert names == [*MATRIX, "student<bridge:added kd"]
    crd = {term.name for term in plan_of(make("sokd", {"add": "crd"})).terms}
    assert {"student<bridge:crd", "crd<student:crd"} <= crd


def test_weights_stand_where_they_belong() -> None:
    plan = plan_of(SOKD(a1=0.1, a2=0.2, a3=0.3, l1=0.4, l2=0.5, transfer="hint", hint=7))
    weights = {term.name: term.weight for term in plan.terms}
    assert weights == {
        "bridge<labels:ce": 0.1,
        "bridge<teacher:kd": 0.2,
        "bridge<student:kd": 0.3,
        "student<labels:ce": 0.4,
        "student<bridge:kd": 0.5,
        "student<bridge:hint maps": 7,
        "student<bridge:hint pooled": 7,
        "bridge<student:hint maps": 7,
        "bridge<student:hint pooled": 7,
    }


def outputs(seed: int) -> Output:
    generator = torch.Generator().manual_seed(seed)
    stages = tuple(torch.randn(5, 3, 2, 2, generator=generator, dtype=torch.float64) for _ in range(3))
    logits, pooled = (torch.randn(5, k, generator=generator, dtype=torch.float64) for k in (7, 3))
    return Output(logits.requires_grad_(), pooled.requires_grad_(), tuple(s.requires_grad_() for s in stages))


def small_batch() -> Batch:
    return Batch.of(torch.zeros(5, 1, 8, 8, dtype=torch.float64), torch.arange(5))


def test_gradients_are_the_closed_form() -> None:
    """dKD(a <- b)/da = T (softmax(a/T) - softmax(b/T)) / B: each depends on the other only through its value."""
    method = SOKD(a1=0.3, a2=0.7, a3=1.3, l1=0.6, l2=1.7, temperature=3)
    student, bridge, teacher = outputs(1), outputs(2), outputs(3)
    entered = []
    net = Cast(
        {
            "student": lambda batch: student,
            "teacher": lambda batch: teacher,
            "bridge": lambda features: entered.append(features) or bridge,
        }
    )
    batch = small_batch()
    torch.stack([term.weight * term.value for term in method.losses([], net, batch)]).sum().backward()
    assert entered == [teacher.stages[1]]
    soft = {name: (o.logits / 3).softmax(1).detach() for name, o in (("S", student), ("A", bridge), ("T", teacher))}
    hard = {name: o.logits.softmax(1).detach() for name, o in (("S", student), ("A", bridge))}
    truth = torch.eye(7, dtype=torch.float64)[:5]
    of_bridge = 0.3 * (hard["A"] - truth) + 3 * (0.7 * (soft["A"] - soft["T"]) + 1.3 * (soft["A"] - soft["S"]))
    of_student = 0.6 * (hard["S"] - truth) + 3 * 1.7 * (soft["S"] - soft["A"])
    torch.testing.assert_close(bridge.logits.grad, of_bridge / 5)
    torch.testing.assert_close(student.logits.grad, of_student / 5)
    assert teacher.logits.grad is None


@pytest.mark.parametrize("transfer", ["at", "hint"])
def test_features_teach_in_both_directions(transfer: Any) -> None:
    student, bridge = outputs(1), outputs(2)
    net = Cast(
        {
            "student": lambda batch: student,
            "teacher": lambda batch: outputs(3),
            "bridge": lambda features: bridge,
            "student_adapter": lambda s, b: ((2 * s.stages[-1], b.stages[-1]), (2 * s.pooled, b.pooled)),
            "bridge_adapter": lambda b, s: ((3 * b.stages[-1], s.stages[-1]), (3 * b.pooled, s.pooled)),
        }
    )
    found = {t.name: t for t in SOKD(transfer=transfer).losses([], net, small_batch()) if t.kind[:2] in ("at", "hi")}
    maps = (student.stages[-1], bridge.stages[-1])
    if transfer == "at":
        both = {
            "student<bridge:at": attention_transfer(2 * maps[0], maps[1]),
            "bridge<student:at": attention_transfer(3 * maps[1], maps[0]),
        }
    else:
        both = {
            "student<bridge:hint maps": hint(2 * maps[0], maps[1]),
            "student<bridge:hint pooled": hint(2 * student.pooled, bridge.pooled),
            "bridge<student:hint maps": hint(3 * maps[1], maps[0]),
            "bridge<student:hint pooled": hint(3 * bridge.pooled, student.pooled),
        }
    assert {name: term.value.item() for name, term in found.items()} == {k: v.item() for k, v in both.items()}
    for name, term in found.items():
        learner, other = (student, bridge) if name.startswith("student") else (bridge, student)
        wanted = [learner.stages[-1], learner.pooled, other.stages[-1], other.pooled]
        reached = [g is not None for g in torch.autograd.grad(term.value, wanted, allow_unused=True)]
        assert reached == [not name.endswith("pooled"), name.endswith("pooled"), False, False]


@pytest.mark.parametrize("statistics", ["running", "batch"])
def test_only_buffers_of_the_teacher_ever_move(statistics: Any, small_run: SmallRun, teacher: Path) -> None:
    run = small_run(SOKD(frozen_statistics=statistics), teacher=teacher)
    before, after, evolved = load_file(teacher), weights(run.folder, "teacher"), weights(run.folder, "evolved_teacher")
    changed = {key for key, tensor in before.items() if not torch.equal(tensor, after[key])}
    buffers = {key for key in before if "running" in key or "num_batches" in key}
    assert changed == (buffers if statistics == "batch" else set())
    trunk = {key for key in before if not key.startswith(("layer3", "fc"))}
    assert same({key: after[key] for key in trunk}, {key: evolved[key] for key in trunk})
    assert all(not torch.equal(before[key], evolved[key]) for key in before.keys() - trunk)


@pytest.mark.parametrize(("switches", "stop"), [({"transfer": "hint"}, 3), ({"frozen_statistics": "batch"}, 5)])
def test_stopped_and_resumed_is_straight_through(
    switches: dict[str, Any], stop: int, small_run: SmallRun, teacher: Path
) -> None:
    method = SOKD(**switches)
    straight = small_run(method, "straight", teacher=teacher)
    with pytest.raises(Interrupted):
        small_run(method, "stopped", teacher=teacher, progress=StopAt(stop))
    resumed = small_run(method, "stopped", teacher=teacher, resume=True)
    for role in ("student", "evolved_teacher", "teacher"):
        assert same(weights(straight.folder, role), weights(resumed.folder, role))


def test_the_evolved_teacher_is_followed_and_measured(small_run: SmallRun, teacher: Path) -> None:
    run = small_run("sokd", teacher=teacher, epochs=4)
    rows = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    accuracies = [row["val_top1/evolved_teacher"] for row in rows]
    about = run.results["networks"]["evolved_teacher"]
    assert list(run.results["networks"]) == ["student", "evolved_teacher", "teacher"]
    assert run.results["deployed"] == "student"
    assert about["val_top1"] == accuracies[-1]
    assert (about["best_val_epoch"], about["best_val_top1"]) == (accuracies.index(max(accuracies)) + 1, max(accuracies))
    assert about["parameters"] == run.results["networks"]["teacher"]["parameters"]


@dataclass(frozen=True)
class Alone:
    """A student and a bridge that learn from the labels only, the student first, one phase each."""

    roles: ClassVar[tuple[str, ...]] = ("teacher", "student")

    def run(self, train: Train, build: Build) -> Mapping[str, nn.Module]:
        teacher, student = build("teacher", frozen=True), build("student")
        bridge = new_top(teacher, 1)
        train(Phase("student", {"student": student}, self.student))
        train(Phase("bridge", {"bridge": bridge}, self.bridge, {"teacher": teacher}, stream="student"))
        return {"student": student, "evolved_teacher": with_top(teacher, bridge, 1)}

    def student(self, net: Networks, batch: Batch) -> Iterator[LossTerm]:
        yield LossTerm("student", "labels", "ce", cross_entropy(net.student(batch).logits, batch.labels))

    def bridge(self, net: Networks, batch: Batch) -> Iterator[LossTerm]:
        logits = net.bridge(net.teacher(batch).stages[-2]).logits
        yield LossTerm("bridge", "labels", "ce", cross_entropy(logits, batch.labels))


def test_without_teaching_both_train_plainly(small_run: SmallRun, teacher: Path) -> None:
    together = small_run(SOKD(a2=0, a3=0, l2=0), "together", teacher=teacher)
    alone, plain = small_run(Alone(), "alone", teacher=teacher), small_run("plain", "plain")
    assert same(weights(together.folder, "student"), weights(plain.folder, "student"))
    for role in ("student", "evolved_teacher"):
        assert same(weights(together.folder, role), weights(alone.folder, role))


@dataclass
class Seen:
    """Trains nothing, keeps the phases."""

    phases: list[Phase] = field(default_factory=list)

    def __call__(self, phase: Phase) -> Mapping[str, nn.Module]:
        self.phases.append(phase)
        return phase.learners


class Builds:
    """Builds networks for images of 8 pixels; the teacher is trained."""

    def __call__(self, role: str, *, frozen: bool = False, number: int = 0) -> Any:
        network = create("resnet8", classes=10, channels=1, image_size=8)
        with torch.no_grad():
            network(torch.randn(8, 1, 8, 8))
        return network.eval()

    def is_trained(self, role: str) -> bool:
        return role == "teacher"


@pytest.mark.parametrize("split", [0, 1, 2])
def test_a_trained_bridge_says_what_the_teacher_says(split: int) -> None:
    seen = Seen()
    made = SOKD(bridge_init="trained", split=split).run(seen, Builds())
    (phase,) = seen.phases
    teacher, images = phase.frozen["teacher"], torch.randn(4, 1, 8, 8)
    expected = teacher(images)
    found = phase.learners["bridge"].eval()(expected.stages[-1 - split])
    assert torch.equal(found.logits, expected.logits)
    assert kd(found.logits, expected.logits).item() == 0
    assert torch.equal(made["evolved_teacher"](images).logits, expected.logits)
    fresh = Seen()
    SOKD(split=split).run(fresh, Builds())
    assert not torch.equal(fresh.phases[0].learners["bridge"].eval()(expected.stages[-1 - split]).logits, found.logits)


def test_the_bridge_has_its_own_learning_rate() -> None:
    seen = Seen()
    SOKD(bridge_rate=0.5, frozen_statistics="batch").run(seen, Builds())
    assert seen.phases[0].learning_rates["bridge"] == 0.5
    assert "student" not in seen.phases[0].learning_rates
    assert seen.phases[0].frozen_statistics == "batch"


def test_an_evolved_teacher_expects_the_images_of_its_teacher(small_run: SmallRun, tmp_path: Path) -> None:
    theirs = Expectation((0.5,), (0.25,), 12)
    torch.manual_seed(0)
    path = tmp_path / "old.safetensors"
    network = create("resnet8", classes=10, channels=1, image_size=12)
    save(network, path, class_names=None, mean=theirs.mean, std=theirs.std, role="teacher")
    run = small_run("sokd", teacher=path)
    kept = read(run.folder / "evolved_teacher.safetensors")
    assert (kept.mean, kept.std, kept.network.spec.image_size) == theirs
    about = run.results["networks"]["evolved_teacher"]
    data = load(DataSettings(train_images=200))
    assert evaluate(kept.network, data.test.seen_by(theirs), 10).top1 == about["test_top1"]
    assert docendo.evaluate(run.folder, role="evolved_teacher")["top1"] == about["test_top1"]
    rows = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    # The bridge learned from images scaled up within the network's adaptation, the same ones up to rounding.
    assert rows[-1]["val_top1/evolved_teacher"] == pytest.approx(about["val_top1"], abs=0.02)


@pytest.mark.parametrize(("key", "word"), [("fc.bias", "missing"), ("fc.extra", "left over")])
def test_a_teacher_file_that_does_not_fit_is_refused(
    key: str, word: str, small_run: SmallRun, teacher: Path, tmp_path: Path
) -> None:
    from safetensors import safe_open

    tensors = load_file(teacher)
    with safe_open(teacher, framework="pt") as file:
        about = file.metadata()
    tensors[key] = torch.zeros(1)
    if word == "missing":
        del tensors[key]
    broken = tmp_path / "broken.safetensors"
    save_file(tensors, broken, about)
    with pytest.raises(DocendoError, match=rf"^{broken} does not fit resnet8 .*{word} {key}"):
        small_run("sokd", teacher=broken)


def test_impossible_splits_are_refused() -> None:
    with pytest.raises(DocendoError, match=r"^a new top of 3 stages leaves no trunk of resnet20.* at most 2$"):
        plan_of(SOKD(split=3))
    with pytest.raises(DocendoError, match=r"^sokd: transfer=at compares last stages, of which split=0 has none"):
        plan_of(SOKD(split=0, transfer="at"))

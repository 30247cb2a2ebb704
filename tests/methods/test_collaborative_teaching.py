"""Collaborative teaching: who learns from whom under every switch, its limits, and what it shares with its parents."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import docendo
from docendo.core import Batch, Phase
from docendo.engine.networks import Learners
from docendo.methods import AT, CollaborativeTeaching, RocketLaunching, make
from docendo.networks import create, load, parameters
from tests.conftest import same, weights
from tests.tiny import cast

SmallRun = Callable[..., docendo.Run]

TINY = cast("native", CollaborativeTeaching.roles)
ALIKE = {"student": "tiny", "scratch": "tiny"}  # with equal stems

PARTS = ("stage1", "stage2", "stage3", "head")


def parts(role: str, first: int = 4) -> set[str]:
    return {f"{role}.{part}" for part in PARTS[:first]}


def expected(expert_to: str, share_stem: bool) -> dict[str, set[str]]:
    stem = {"student.stage1"} if share_stem else set()
    matrix = {
        "student<labels:ce": parts("student"),
        "scratch<labels:ce": parts("scratch") | stem,
        "student<scratch:path": parts("student"),
    }
    for i in (1, 2, 3):
        if expert_to in ("student", "both"):
            matrix[f"student<expert:at {i}:{i}"] = parts("student", i)
        if expert_to in ("scratch", "both"):
            matrix[f"scratch<expert:at {i}:{i}"] = parts("scratch", i) | stem
    return matrix


@pytest.mark.parametrize("share_stem", [False, True])
@pytest.mark.parametrize("expert_to", ["student", "scratch", "both"])
def test_gradient_matrix(expert_to: str, share_stem: bool) -> None:
    method = CollaborativeTeaching(expert_to=expert_to, share_stem=share_stem)  # type: ignore[arg-type]
    explanation = docendo.explain(method, set={"data.train_images": 64}, epochs=7)
    assert [phase.name for phase in explanation.phases] == ["expert", "student and scratch"]
    assert explanation.epochs == (7, 7)
    plan = explanation.phases[1]
    assert {term.name: set(term.reaches) for term in plan.terms} == expected(expert_to, share_stem)
    assert {term.weight for term in plan.terms if ":at " in term.name} == {1000}
    assert {term.name: term.weight for term in plan.terms}["student<scratch:path"] == 0.03
    assert plan.reads == {"expert": {"stages.0", "stages.1", "stages.2"}}
    assert explanation.kept == ("student", "scratch", "expert")


def test_pairs_are_the_users() -> None:
    (_, plan) = docendo.explain("ctkd", set={"data.train_images": 64, "pairs": "2:1,3:3"}).phases
    assert [term.name for term in plan.terms[3:]] == ["student<expert:at 2:1", "student<expert:at 3:3"]
    assert plan.reads == {"expert": {"stages.1", "stages.2"}}


def test_ctkd_is_an_alias() -> None:
    assert make("ctkd", {"path": 1}) == CollaborativeTeaching(path=1)
    assert docendo.explain("CTKD", set={"data.train_images": 64}).settings.method == "collaborative_teaching"


@pytest.mark.parametrize(
    ("name", "hundred", "ten"),
    [
        ("wrn_16_1", 180_916, 175_066),
        ("wrn_40_1", 569_780, 563_930),
        ("wrn_16_2", 703_284, 691_674),
        ("wrn_40_2", 2_255_156, 2_243_546),
    ],
)
def test_the_papers_networks_have_their_parameters(name: str, hundred: int, ten: int) -> None:
    assert (parameters(create(name, classes=100)), parameters(create(name, classes=10))) == (hundred, ten)


class Gradients:
    """Stands for a trainer that takes no step, but keeps each term's gradients in its last phase, in float64."""

    def __init__(self, method: CollaborativeTeaching) -> None:
        torch.manual_seed(0)
        self.terms: dict[str, dict[str, Tensor]] = {}
        method.run(self.train, self)

    def __call__(self, role: str, *, frozen: bool = False, number: int = 0) -> nn.Module:
        torch.manual_seed(len(role))
        return create("wrn_16_1" if role == "student" else "wrn_40_1", classes=10).double()

    def is_trained(self, role: str) -> bool:
        return role == "expert"

    def train(self, phase: Phase) -> Mapping[str, nn.Module]:
        torch.manual_seed(1)
        batch = Batch.of(torch.randn(3, 3, 32, 32, dtype=torch.float64), torch.tensor([1, 2, 3]))
        with torch.no_grad():
            answers = {role: network.eval()(batch.images) for role, network in phase.frozen.items()}
        learners = Learners(phase.learners, phase.losses).train()
        tensors = dict(learners.named_parameters())
        for term in learners(batch, answers):
            found = torch.autograd.grad(
                term.weight * term.value, list(tensors.values()), retain_graph=True, materialize_grads=True
            )
            self.terms[term.name] = dict(zip(tensors, found, strict=True))
        return phase.learners

    def attention(self) -> dict[str, Tensor]:
        chosen = [gradients for name, gradients in self.terms.items() if ":at " in name]
        return {name: torch.stack([g[name] for g in chosen]).sum(0) for name in chosen[0]}


@pytest.mark.parametrize("share_stem", [False, True])
def test_both_is_the_sum_of_student_and_scratch(share_stem: bool) -> None:
    method = CollaborativeTeaching(share_stem=share_stem)
    student, scratch, both = (
        Gradients(replace(method, expert_to=to)).attention() for to in ("student", "scratch", "both")
    )
    for name, gradient in both.items():
        torch.testing.assert_close(gradient, student[name] + scratch[name])
    stem = "roles.student.conv1.weight"
    assert student[stem].any()
    assert bool(scratch[stem].any()) == share_stem

    def touched(gradients: dict[str, Tensor]) -> Iterator[str]:
        return (f"{n.split('.')[1]}.{n.split('.')[2]}" for n, g in gradients.items() if g.any())

    groups = {"block1", "block2", "block3", "conv1"}
    assert set(touched(student)) == {f"student.{group}" for group in groups}
    own = groups - {"conv1"} if share_stem else groups
    assert set(touched(scratch)) == {f"scratch.{g}" for g in own} | ({"student.conv1"} if share_stem else set())


def test_the_path_leaves_the_scratch_teacher_alone() -> None:
    path = Gradients(CollaborativeTeaching(share_stem=True)).terms["student<scratch:path"]
    assert not any(gradient.any() for name, gradient in path.items() if name.startswith("roles.scratch."))
    assert path["roles.student.fc.weight"].any()
    assert path["roles.student.conv1.weight"].any()


def test_without_path_and_attention_both_learn_alone(small_run: SmallRun) -> None:
    alone = CollaborativeTeaching(path=0, attention=0)
    off = small_run(alone, "off", **TINY)
    assert list(off.networks) == ["student", "scratch"]
    assert same(weights(off.folder, "student"), weights(small_run("plain", "plain", student="tiny").folder, "student"))
    other = small_run(alone, "other", **{**TINY, "student": "tiny_own"})
    assert same(weights(off.folder, "scratch"), weights(other.folder, "scratch"))


def test_without_an_expert_it_is_rocket_launching(small_run: SmallRun) -> None:
    without = small_run(CollaborativeTeaching(attention=0, share_stem=True), "without", **ALIKE)
    rocket = small_run(RocketLaunching(share_stem=True), "rocket", **ALIKE)
    for role in ("student", "scratch"):
        assert same(weights(without.folder, role), weights(rocket.folder, role))


def test_an_expert_stays_as_it_is_and_without_path_it_transfers_attention(small_run: SmallRun, tmp_path: Path) -> None:
    teacher = small_run("plain", "expert", teacher="tiny_wide", set={"role": "teacher"}).folder / "teacher.safetensors"
    taught = small_run(CollaborativeTeaching(path=0), "taught", **{**TINY, "expert": teacher})
    assert same(weights(taught.folder, "expert"), weights(tmp_path / "expert", "teacher"))
    attentive = small_run(AT(), "attentive", teacher=teacher, student="tiny")
    assert same(weights(taught.folder, "student"), weights(attentive.folder, "student"))


def test_the_student_alone_says_what_it_said(small_run: SmallRun) -> None:
    run = small_run(CollaborativeTeaching(share_stem=True), expert="tiny_wide", **ALIKE)
    alone = load(run.folder / "student.safetensors").eval()
    assert (
        weights(run.folder, "student").keys()
        == create("tiny", classes=10, channels=1, image_size=8).state_dict().keys()
    )
    images = torch.randn(3, 1, 8, 8)
    assert torch.equal(alone(images).logits, run.networks["student"](images).logits)
    # It is the student as it stood at the end of the phase that it trained in.
    end = torch.load(run.folder / "checkpoints" / "02-student-and-scratch.done.pt", weights_only=True)
    for name, tensor in weights(run.folder, "student").items():
        assert torch.equal(tensor, end["learners"]["student"][name])

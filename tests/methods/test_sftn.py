"""SFTN: who learns from whom under every switch, and its limits."""

from collections.abc import Callable
from pathlib import Path

import pytest

import docendo
from docendo.engine import PhasePlan
from docendo.errors import DocendoError
from docendo.methods import KD, SFTN
from tests.conftest import Said, same, weights

SmallRun = Callable[..., docendo.Run]

ALL = ("teacher.stage1", "teacher.stage2", "teacher.stage3", "teacher.head")


def friendly(**switches: object) -> PhasePlan:
    return docendo.explain(SFTN(**switches), set={"data.train_images": 200}).phases[0]  # type: ignore[arg-type]


def matrix(plan: PhasePlan) -> dict[str, set[str]]:
    return {term.name: set(term.reaches) for term in plan.terms}


LIVE = {
    "teacher<labels:ce": set(ALL),
    "branches.0<teacher:kl 1:1": {*ALL, "branches.0"},
    "branches.0<labels:ce 1:1": {"teacher.stage1", "branches.0"},
    "branches.1<teacher:kl 2:2": {*ALL, "branches.1"},
    "branches.1<labels:ce 2:2": {"teacher.stage1", "teacher.stage2", "branches.1"},
}
DETACHED = {
    **LIVE,
    "branches.0<teacher:kl 1:1": {"teacher.stage1", "branches.0"},
    "branches.1<teacher:kl 2:2": {"teacher.stage1", "teacher.stage2", "branches.1"},
}
SHARED = {
    **LIVE,
    "branches.1<teacher:kl 2:2": {*ALL, "branches.0", "branches.1"},
    "branches.1<labels:ce 2:2": {"teacher.stage1", "teacher.stage2", "branches.0", "branches.1"},
}


@pytest.mark.parametrize(
    ("switches", "expected"),
    [
        ({}, LIVE),
        ({"kl_direction": "reverse"}, LIVE),
        ({"detach_teacher": True}, DETACHED),
        ({"detach_teacher": True, "kl_direction": "reverse"}, DETACHED),
        ({"share_tails": True}, SHARED),
    ],
)
def test_gradient_matrix(switches: dict[str, object], expected: dict[str, set[str]]) -> None:
    assert matrix(friendly(**switches)) == expected


def test_weights_are_shared_among_branches() -> None:
    terms = {term.name: term.weight for term in friendly().terms}
    assert terms == {
        "teacher<labels:ce": 1.0,
        "branches.0<teacher:kl 1:1": 1.5,
        "branches.0<labels:ce 1:1": 0.5,
        "branches.1<teacher:kl 2:2": 1.5,
        "branches.1<labels:ce 2:2": 0.5,
    }


def test_without_branch_weights_the_teacher_is_plain(small_run: SmallRun) -> None:
    off = small_run(SFTN(branch_kl=0, branch_ce=0), "sftn", teacher="resnet14")
    plain = small_run("plain", "plain", teacher="resnet14", set={"role": "teacher"})
    assert same(weights(off.folder, "teacher"), weights(plain.folder, "teacher"))


def test_branches_change_the_teacher(small_run: SmallRun) -> None:
    on = small_run("sftn", "sftn", teacher="resnet14")
    plain = small_run("plain", "plain", teacher="resnet14", set={"role": "teacher"})
    assert not same(weights(on.folder, "teacher"), weights(plain.folder, "teacher"))


def test_a_trained_start_takes_a_fraction_of_the_epochs(small_run: SmallRun, tmp_path: Path) -> None:
    explanation = docendo.explain(SFTN(start="trained"), epochs=8, set={"data.train_images": 200})
    assert [p.name for p in explanation.phases] == ["teacher", "friendly teacher", "student"]
    assert explanation.epochs == (8, 2, 8)
    teacher = small_run("plain", "plain", teacher="resnet8", set={"role": "teacher"}).folder / "teacher.safetensors"
    tuned = docendo.explain(SFTN(start="trained"), teacher=teacher, set={"data.train_images": 200})
    assert [p.name for p in tuned.phases] == ["friendly teacher", "student"]
    with pytest.raises(DocendoError, match=r"trains its teacher from scratch, but weights were given .* start=trained"):
        small_run("sftn", "scratch", teacher=teacher)


def test_then_teaches_with_its_own_settings(small_run: SmallRun) -> None:
    phases = docendo.explain(SFTN(then=KD(ce=0.3, kd=0.7)), set={"data.train_images": 200}).phases
    assert {term.name: term.weight for term in phases[1].terms} == {"student<labels:ce": 0.3, "student<teacher:kd": 0.7}


def test_the_friendly_teacher_is_measured_before_it_teaches(small_run: SmallRun) -> None:
    said = Said()
    small_run("sftn", progress=said)
    assert any(
        line.startswith("teacher (frozen): ") and "of 143 validation images right" in line for line in said.lines
    )

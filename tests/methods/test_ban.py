"""Born-again networks: who learns from whom, and the generations together."""

from collections.abc import Callable
from typing import Any

import pytest

import docendo
from docendo.methods import BAN, TolerantTeacher, make
from tests.conftest import same, weights

SmallRun = Callable[..., docendo.Run]

ALL = {"student.stage1", "student.stage2", "student.stage3", "student.head"}


@pytest.mark.parametrize("switches", [{}, {"lam": 0.3}, {"lam": 0}, {"lam": 1}, {"temperature": 3, "generations": 1}])
def test_gradient_matrix(switches: dict[str, Any]) -> None:
    first, *later = docendo.explain(BAN(**switches), set={"data.train_images": 20}).phases
    assert [{t.name: set(t.reaches) for t in first.terms}, dict(first.reads)] == [{"student<labels:ce": ALL}, {}]
    assert len(later) == switches.get("generations", 2)
    lam = switches.get("lam", 0.5)
    for plan in later:
        assert {t.name: set(t.reaches) for t in plan.terms} == {"student<labels:ce": ALL, "student<teacher:kd": ALL}
        assert {t.name: t.weight for t in plan.terms} == {"student<labels:ce": lam, "student<teacher:kd": 1 - lam}
        assert plan.reads == {"teacher": {"logits"}}


def test_it_is_a_strict_teacher_in_generations(small_run: SmallRun) -> None:
    ban = small_run(BAN(generations=1), "ban")
    strict = small_run(TolerantTeacher(eta=1, generations=1), "strict")
    for role in ("student", "generation0"):
        assert same(weights(ban.folder, role), weights(strict.folder, role))
    plain = small_run("plain", "plain")
    assert same(weights(ban.folder, "generation0"), weights(plain.folder, "student"))
    assert not same(weights(ban.folder, "student"), weights(plain.folder, "student"))


def test_the_ensembles_are_in_the_results_and_can_be_measured_again(small_run: SmallRun) -> None:
    run = small_run(BAN(generations=2))
    roles = ["generation0", "generation1", "student"]
    for name, members in {"generations 0 to 2": roles, "generations 1 to 2": roles[1:]}.items():
        found = run.results["ensembles"][name]
        files = [run.folder / f"{role}.safetensors" for role in members]
        again = docendo.evaluate(*files, data="digits")
        assert found["networks"] == members
        assert (found["test_top1"], found["test_top5"]) == (again["top1"], again["top5"])
        assert found["val_top1"] == docendo.evaluate(*files, data="digits", split="val")["top1"]
        assert again["weights"] == [str(f) for f in files]
    assert len(run.results["ensembles"]) == 2
    assert "ensembles" not in small_run(BAN(generations=0), "alone", epochs=1).results


def test_an_heir_of_two_phases_is_taught_in_both_each_generation() -> None:
    heir = make("fitnet", {"hint_fraction": "0.5"})
    explained = docendo.explain(BAN(generations=2, heir=heir), student="resnet8", set={"data.train_images": 20})
    assert [phase.name for phase in explained.phases] == [
        "generation 0",
        "generation 1, hint",
        "generation 1",
        "generation 2, hint",
        "generation 2",
    ]

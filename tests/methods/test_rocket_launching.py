"""Rocket launching: who learns from whom, and its limits."""

from collections.abc import Callable
from pathlib import Path

import pytest

import docendo
from docendo.errors import DocendoError
from docendo.methods import RocketLaunching
from tests.conftest import same, weights
from tests.tiny import cast

SmallRun = Callable[..., docendo.Run]

TINY = cast("native", RocketLaunching.roles)

STUDENT = {"student.stage1", "student.stage2", "student.stage3", "student.head"}
SCRATCH = {"scratch.stage1", "scratch.stage2", "scratch.stage3", "scratch.head"}


@pytest.mark.parametrize(
    ("switches", "scratch", "hint"),
    [
        ({}, SCRATCH, STUDENT),
        ({"hint": 0}, SCRATCH, STUDENT),
        ({"gradient_block": False}, SCRATCH, STUDENT | SCRATCH),
        ({"share_stem": True}, SCRATCH | {"student.stage1"}, STUDENT),
        ({"share_stem": True, "gradient_block": False}, SCRATCH | {"student.stage1"}, STUDENT | SCRATCH),
    ],
)
def test_gradient_matrix(switches: dict[str, object], scratch: set[str], hint: set[str]) -> None:
    explanation = docendo.explain(RocketLaunching(**switches), set={"data.train_images": 64})  # type: ignore[arg-type]
    (plan,) = explanation.phases
    assert {term.name: set(term.reaches) for term in plan.terms} == {
        "student<labels:ce": STUDENT,
        "scratch<labels:ce": scratch,
        "student<scratch:hint": hint,
    }
    assert [term.weight for term in plan.terms] == [1, 1, switches.get("hint", 0.03)]
    assert explanation.kept == ("student", "scratch")


def test_the_booster_does_not_notice_the_student(small_run: SmallRun) -> None:
    one = small_run(RocketLaunching(), "one", **TINY)
    other = small_run(RocketLaunching(hint=0.1), "other", **{**TINY, "student": "tiny_own"})
    assert same(weights(one.folder, "scratch"), weights(other.folder, "scratch"))
    open_ = small_run(RocketLaunching(gradient_block=False), "open", **TINY)
    assert not same(weights(one.folder, "scratch"), weights(open_.folder, "scratch"))


def test_without_the_hint_the_student_is_plain(small_run: SmallRun) -> None:
    off = small_run(RocketLaunching(hint=0), "off", **TINY)
    plain = small_run("plain", "plain", student="tiny")
    assert same(weights(off.folder, "student"), weights(plain.folder, "student"))


def test_stems_that_differ_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DocendoError, match=r"resnet8 and resnet8x4 cannot share .* or add --set share_stem=false"):
        docendo.train(RocketLaunching(share_stem=True), scratch="resnet8x4", epochs=1, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()

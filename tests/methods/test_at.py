"""Attention transfer: who learns from whom, and its limits."""

from collections.abc import Callable

import pytest

import docendo
from docendo.errors import DocendoError
from docendo.methods import AT, SFTN
from tests.conftest import same, weights
from tests.tiny import cast

SmallRun = Callable[..., docendo.Run]

TINY = cast("native", AT.roles)

STUDENT = ("student.stage1", "student.stage2", "student.stage3", "student.head")


@pytest.mark.parametrize(
    ("pairs", "stages"),
    [("", {"1:1": 1, "2:2": 2, "3:3": 3}), ("2:1", {"2:1": 1}), ("1:1,2:3", {"1:1": 1, "2:3": 3})],
)
def test_gradient_matrix(pairs: str, stages: dict[str, int]) -> None:
    explanation = docendo.explain(AT(pairs=pairs), set={"data.train_images": 64}, epochs=7)
    plan = explanation.phases[1]
    assert {term.name: set(term.reaches) for term in plan.terms} == {
        "student<labels:ce": set(STUDENT),
        **{f"student<teacher:at {pair}": set(STUDENT[:stage]) for pair, stage in stages.items()},
    }
    assert [term.weight for term in plan.terms] == [1, *(1000 for _ in stages)]
    assert plan.reads == {"teacher": {f"stages.{int(pair[0]) - 1}" for pair in stages}}
    assert explanation.epochs == (7, 7)


def test_without_attention_the_student_is_plain(small_run: SmallRun) -> None:
    off, plain = small_run(AT(weight=0), "off", **TINY), small_run("plain", "plain", student="tiny")
    assert same(weights(off.folder, "student"), weights(plain.folder, "student"))


def test_its_settings_are_the_users_where_it_is_held(small_run: SmallRun) -> None:
    sets = {"then": "at", "then.weight": "10", "then.pairs": "3:2"}
    run = small_run("sftn", epochs=1, set=sets, **TINY)
    assert "--set then=at --set then.weight=10.0 --set then.pairs=3:2 --set then.ce=1.0" in run.results["command"]
    assert "pairs= " not in run.results["command"]
    with pytest.raises(DocendoError, match=r'at has no setting "then.wight"; did you mean "then.weight"\?'):
        small_run("sftn", "wrong", set={**sets, "then.wight": "1"})


def test_it_is_a_second_phase_for_others() -> None:
    method = SFTN(then=AT(weight=10, pairs="3:2"))
    friendly, student = docendo.explain(method, set={"data.train_images": 64}).phases
    assert [term.name for term in student.terms] == ["student<labels:ce", "student<teacher:at 3:2"]
    assert [term.name for term in friendly.terms][1:4:2] == ["branches.0<teacher:kl 1:1", "branches.1<teacher:kl 2:2"]

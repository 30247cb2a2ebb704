"""--pair: which stage is compared with which, from the command line to the loss terms."""

import pytest

from docendo.methods import METHODS, settings_of
from tests.cli.conftest import call

PAIRING = ["sftn", "collaborative_teaching", "at", "fitnet"]


@pytest.mark.parametrize(
    ("method", "term"),
    [
        ("sftn", "branches.0<teacher:kl 2:1"),
        ("collaborative_teaching", "student<expert:at 2:1"),
        ("at", "student<teacher:at 2:1"),
        ("fitnet", "student<teacher:hint 2:1"),
    ],
)
def test_explain_shows_the_pair(method: str, term: str) -> None:
    shown = call("explain", method, "--pair", "2:1", "--set", "data.train_images=64")
    assert shown.code == 0
    assert term in shown.out
    assert "1:1" not in shown.out


def test_several_are_one_setting() -> None:
    shown = call("explain", "at", "--pair", "1:1", "--pair", "3:2", "--set", "data.train_images=64").out
    assert "at 1:1" in shown
    assert "at 3:2" in shown


def test_every_method_with_pairs_is_named_where_there_are_none() -> None:
    failed = call("explain", "kd", "--pair", "2:1")
    assert failed.code == 2
    named = failed.err.strip().rpartition(": ")[2].split(", ")
    assert failed.err.startswith("docendo: kd pairs no stages, so --pair (the setting pairs) does not go with it")
    assert set(PAIRING) <= set(named)
    assert set(named) == {name for name, cls in METHODS.items() if any(s.key == "pairs" for s in settings_of(cls))}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--pair", "2-1"], 'pairs has "2-1", but a pair is TEACHER:STUDENT, stages counted from 1, such as 2:1'),
        (["--pair", "9:1"], "pairs has 9:1, but the teacher has stages 1 to 3 and the student 1 to 3"),
        (["--pair", "2:2", "--pair", "1:1"], "pairs 2:2,1:1: stages must ascend on both sides, such as 1:1,3:2"),
        (["--pair", "2:2", "--set", "pairs=1:1"], "--pair and --set pairs=1:1 are both given: give one of them"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], message: str) -> None:
    failed = call("explain", "at", *arguments)
    assert (failed.code, failed.err.count("\n")) == (2, 1)
    assert message in failed.err

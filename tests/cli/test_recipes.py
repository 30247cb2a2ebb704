"""--recipe and --networks, and the lists of what they take."""

import json

import pytest

from docendo.cli.options import RunOptions
from docendo.recipes.pairs import PAIRS
from docendo.recipes.protocols import RECIPES
from tests.cli.conftest import call

FEW = ("--set", "data.train_images=64")


def test_the_list_of_recipes_says_everything() -> None:
    found = {row["name"]: row for row in json.loads(call("list", "recipes", "--json").out)}
    assert set(found) == set(RECIPES)
    assert found["sokd"]["sets"]["data.mean"] == [0.4914, 0.4822, 0.4465]
    assert found["crd"]["student_lr"]["ShuffleV1"] == 0.01
    said = call("list", "recipes")
    assert (said.code, said.err) == (0, "")
    words = " ".join(said.out.split())
    for name, row in found.items():
        assert f"{name} {row['about']} from: {row['source']} sets: epochs={row['sets']['epochs']} " in words
        for deviation in row["deviations"]:
            assert f"differs: {deviation}" in words
    assert "schedule.milestones=0.3,0.6,0.8 schedule.factor=0.2" in words
    assert "of kd: temperature=1 ce=0 kd=1" in words
    assert "lr of a student: MobileNetV2=0.01" in words
    assert "nothing is chosen by validation" in words


def test_the_list_of_pairs_has_the_published_accuracies() -> None:
    found = json.loads(call("list", "pairs", "--json").out)
    assert [row["name"] for row in found] == [pair.name for pair in PAIRS]
    assert found[5] == {
        "name": "resnet32x4:resnet8x4",
        "about": "CIFAR-100, RepDistiller, last epoch",
        "teacher": "resnet32x4",
        "student": "resnet8x4",
        "teacher_top1": 79.42,
        "student_top1": 72.5,
        "kd_top1": 73.33,
        "recipe": "crd",
    }
    rows = [line.split() for line in call("list", "pairs").out.splitlines()]
    assert ["resnet32x4:resnet8x4", "79.42", "72.50", "73.33", "crd"] in [row[:5] for row in rows]


def test_explain_shows_the_recipe_and_both_networks() -> None:
    words = ("explain", "kd", "--recipe", "crd", "--networks", "resnet14:resnet8", *FEW)
    found = json.loads(call(*words, "--json").out)
    assert {role: n["architecture"] for role, n in found["networks"].items()} == {
        "teacher": "resnet14",
        "student": "resnet8",
    }
    assert (found["settings"]["recipe"], found["settings"]["epochs"], found["settings"]["lr"]) == ("crd", 240, 0.05)
    shown = call(*words, "--epochs", "3").out
    assert "Phase 2 of 2: student, 3 epochs" in shown
    assert "recipe crd, changed here: epochs 3 (240)" in shown


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("explain kd --recipe cdr", 'unknown recipe "cdr"; did you mean "crd"?'),
        ("train kd --recipe zzz", 'unknown recipe "zzz"; known: crd, teskd, sokd'),
        ("explain kd --recip crd", 'explain has no option --recip; did you mean "--recipe"?'),
        ("train kd --recipe", "--recipe needs a value after it"),
        ("explain teskd --recipe teskd", "mean and std have 3 numbers, but images of digits are grey: give 1"),
        ("explain kd --networks resnet8", '--networks is "resnet8", but must be TEACHER:STUDENT, such as resnet32x4:'),
        ("explain kd --networks :resnet8", '--networks is ":resnet8", but must be TEACHER:STUDENT'),
        ("explain kd --networks a:b:c", '--networks is "a:b:c", but must be TEACHER:STUDENT'),
        ("train kd --networks resnet8:resnet9", 'unknown network "resnet9"'),
        ("train kd --networks a:b --student c", "--networks and --student are both given: give one of them"),
        ("train plain --networks resnet14:resnet8", "plain has no teacher, only: student"),
        ("list recipies", 'there is no list of "recipies"; did you mean "recipes"?'),
    ],
)
def test_mistakes_are_one_line(line: str, message: str) -> None:
    failed = call(*line.split())
    assert (failed.code, failed.err.count("\n")) == (2, 1)
    assert failed.err.startswith(f"docendo: {message}")


def test_networks_leave_no_trace_of_their_own() -> None:
    both = RunOptions(networks="wrn_40_2:weights/student.pth", recipe="crd")
    assert both.keywords() == {
        "teacher": "wrn_40_2",
        "student": "weights/student.pth",
        "recipe": "crd",
        "set": {},
    }

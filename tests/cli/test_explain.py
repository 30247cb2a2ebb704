"""`docendo explain`: the plan of a run."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

import docendo
from docendo.cli.explain import show, who_learns
from docendo.cli.show import Output
from docendo.methods import METHODS
from tests.cli.conftest import call


@pytest.mark.parametrize("name", METHODS)
def test_explain_every_method(name: str, tmp_path: Path) -> None:
    said = call("explain", name, "--epochs", "3")
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith(f"{name} on digits: ")
    assert "Deployed: the " in said.out
    assert list(tmp_path.iterdir()) == []


def test_explain_kd_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    out = "\n".join(line.rstrip() for line in call("explain", "kd", "--epochs", "3").out.splitlines())
    assert (
        """
Phase 2 of 2: student, 3 epochs
  learns: student, 77,754 parameters
  frozen: teacher, asked for: logits

                            student
loss term           weight  stage1   stage2  stage3  head
─────────────────────────────────────────────────────────
student<labels:ce      0.1  ●        ●       ●       ●
student<teacher:kd     0.9  ●        ●       ●       ●

Teacher memory
  teacher in student: each image has 9 views, and 3 epochs meet 2.68 of them; so
the first run computes 89% of its answers, and others with the same seed none. A
prefill of all views takes 3.4 times what the first run computes, and pays from
about 7 seeds on.

Deployed: the student. Files: student.safetensors, teacher.safetensors,
config.yaml, metrics.jsonl, metrics.csv, log.txt, results.json, checkpoints/"""
        in out
    )


def test_weights_of_zero_and_parts_that_stay_are_marked() -> None:
    said = call("explain", "sftn", "--set", "branch_kl=0", "--set", "branch_ce=0")
    assert "0 (only shown)" in said.out
    assert "no loss term reaches them: branches" in said.out


def test_a_narrow_console_gets_blocks() -> None:
    plan = docendo.explain("sftn").phases[0]
    narrow = Console(file=io.StringIO(), width=60)
    assert len(list(who_learns(plan, narrow))) == 3
    assert len(list(who_learns(plan, Console(file=io.StringIO(), width=200)))) == 1


def test_an_ascii_console_gets_letters() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="replace")
    show(docendo.explain("plain"), Console(file=stream, width=80))
    stream.seek(0)
    text = stream.read()
    assert "?" not in text
    assert next(line for line in text.splitlines() if "student<labels:ce" in line).count("|x") == 4


def test_json_holds_the_same() -> None:
    plan = json.loads(call("explain", "sftn", "--json", "--epochs", "4", "--set", "branch_kl=2").out)
    assert plan["settings"]["epochs"] == 4
    assert plan["networks"]["student"]["parameters"] == 77_754
    assert plan["networks"]["teacher"]["stages"] == [[16, 8, 8], [32, 4, 4], [64, 2, 2]]
    friendly, student = plan["phases"]
    assert (friendly["name"], friendly["epochs"]) == ("friendly teacher", 4)
    assert friendly["terms"][1] == {
        "name": "branches.0<teacher:kl 1:1",
        "weight": 1.0,
        "reaches": [*(f"teacher.{p}" for p in ("stage1", "stage2", "stage3", "head")), "branches.0"],
    }
    assert student["frozen"] == {"teacher": ["logits"]}
    assert (plan["deployed"], plan["kept"]) == ("student", ["student", "teacher"])


def test_out_and_resume_are_taken_and_not_used(tmp_path: Path) -> None:
    assert call("explain", "plain", "--out", "x", "--resume").code == 0
    assert list(tmp_path.iterdir()) == []


def test_piped_output_is_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert Output().width == 120


def test_it_says_what_the_memory_saves_and_on_request_how_long_it_takes() -> None:
    words = ["explain", "kd", "--student", "resnet8", "--epochs", "10", "--set", "data.train_images=100"]
    text = " ".join(call(*words).out.split())
    assert "each image has 9 views, and 10 epochs meet 6.23 of them; so the first run computes 62%" in text
    assert "add --time" in text
    found = json.loads(call(*words, "--time", "--teacher-memory", "off", "--json").out)
    assert found["memory"] == []
    assert [phase["name"] for phase in found["bench"]["phases"]] == ["teacher", "student"]

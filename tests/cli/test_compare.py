"""`docendo compare` and `docendo study`."""

import json
import re
import shlex
from pathlib import Path

import pytest
from rich.console import Console

from docendo.cli.compare import SharedOptions, words_of
from docendo.cli.options import RunOptions
from docendo.cli.study import study_table
from docendo.cli.study_live import LiveStudy
from docendo.studies.job import Job
from docendo.studies.overview import At, Overview
from docendo.studies.table import Row
from tests.cli.conftest import SMALL, call


def test_compare_shows_a_table_and_goes_on(tmp_path: Path) -> None:
    words = ("compare", "plain", "kd", "--seeds", "0,1", "--teacher", "resnet8", *SMALL, "--out", "out")
    code, out, err = call(*words)
    assert (code, err) == (0, "")
    assert out.startswith("5 runs\n[1/5] runs/plain-seed0: student ")
    rows = [line.split() for line in out.partition("─\n")[2].splitlines()[:2]]
    assert [row[:2] for row in rows] == [["plain", "2"], ["kd", "2"]]
    assert "test top-1: of the deployed resnet8 at the last epoch" in out
    assert rows[0][-2:] == ["the", "baseline"]
    assert re.search(r"[+-]\d+\.\d\d ± \d+\.\d\d +no difference can be seen with 2 seeds\n|helps|hurts|equal", out)
    assert "in percent of 359 test images (one of them is 0.28 points)" in " ".join(out.split())
    assert out.endswith("Runs, weights and logs: out\nThe report: out/report.html\n")
    command = json.loads((tmp_path / "out/index.json").read_text())["command"]
    again = call(*shlex.split(command)[1:], "--no-report")
    assert again.out.startswith("5 runs, 5 of them finished before\n")
    assert again.out.partition("─\n")[2] == out.partition("─\n")[2].partition("The report")[0]
    assert call("study", "out", "--no-report").out == again.out
    assert json.loads((tmp_path / "out/index.json").read_text())["command"] == command


def test_a_name_stays_whole_on_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    name = "collaborative_teaching"
    said = call("compare", name, "--seeds", "0", "--teacher", "resnet8", *SMALL, "--out", "out", "--no-report")
    assert said.code == 0
    assert [line.split()[:2] for line in said.out.partition("─\n")[2].splitlines()[:1]] == [[name, "1"]]


def test_networks_are_a_column_where_there_are_several() -> None:
    rows = tuple(Row("kd", network, {0: 50.0}, None, None, None, (), False) for network in ("resnet8", "resnet14"))
    assert [column.header for column in study_table(rows).columns][:3] == ["method", "network", "seeds"]
    assert [column.header for column in study_table(rows[:1]).columns][:2] == ["method", "seeds"]


def test_a_failure_shows_at_the_end(tmp_path: Path) -> None:
    Path("grid.yaml").write_text("methods: [plain, label_smoothing]\nseeds: [0]\nrun: {lr: 1.0e+9, epochs: 1}\n")
    code, out, err = call("study", "grid.yaml")
    assert code == 2
    assert "[1/2] runs/plain-seed0 FAILED: phase " in out
    assert err.startswith("docendo: 2 runs failed; the same command tries again. runs/plain-seed0: phase ")
    assert err.count("\n") == 1
    assert [line.split()[1:4] for line in out.partition("─\n")[2].splitlines()[:2]] == [["0", "(1", "failed)"]] * 2
    assert (tmp_path / "runs/grid/index.json").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("compare",), "compare needs METHODs: plain, kd"),
        (("compare", "kdd"), 'unknown method "kdd"; did you mean "kd"?'),
        (("compare", "kd", "--seeds", "0,0"), '--seeds is "0,0", but must be different whole numbers'),
        (("compare", "kd", "--teacher-seed", "all"), '--teacher-seed is "all", but must be a whole number'),
        (("compare", "kd", "--seed", "1"), 'compare has no option --seed; did you mean "--seeds"?'),
        (("compare", "kd", "--jobs", "many"), '--jobs is "many", but must be a whole number'),
        (("compare", "kd", "--storage", "jurnal"), '--storage is "jurnal", but must be journal, sqlite'),
        (("study",), "study needs a FILE"),
        (("study", "none.yaml"), "cannot read the study none.yaml: No such file"),
    ],
)
def test_mistakes_are_one_line(words: tuple[str, ...], message: str) -> None:
    said = call(*words)
    assert (said.code, said.out) == (2, "")
    assert message in said.err
    assert said.err.count("\n") == 1


@pytest.mark.parametrize("command", ["compare", "study"])
def test_help(command: str) -> None:
    said = call(command, "--help")
    assert said.code == 0
    assert said.out.startswith(f"Usage: docendo {command}")
    assert "--jobs" in said.out
    assert f"\n  {command} " in call("--help").out.replace("│", " ")


def test_options_are_those_of_train_without_what_a_study_has_itself() -> None:
    theirs = {*RunOptions.__dataclass_fields__}
    assert theirs - {*SharedOptions.__dataclass_fields__} == {"seed", "resume", "config", "log"}
    assert words_of(SharedOptions(teacher="a", lr=0.1, add=("at", "sp"), pretrained=True)) == [
        *("--teacher", "a", "--add", "at", "--add", "sp", "--pretrained", "--lr", "0.1")
    ]


def test_a_terminal_shows_the_whole_and_each_run() -> None:
    console = Console(force_terminal=True, width=80, height=20)
    jobs = tuple(Job(f"runs/kd-seed{seed}", "kd", "kd", {}, {}, seed, 10) for seed in range(3))
    overview = Overview(jobs, frozenset({jobs[2].name}), clock=iter(range(0, 1000, 30)).__next__)
    with console.capture() as capture, LiveStudy(console, clock=iter(range(1000)).__next__) as shown:
        shown.begin(overview)
        overview.started(jobs[0])
        shown.started(jobs[0])
        overview.at(jobs[0], At("student", 1, 10, 0.0))
        overview.at(jobs[0], here := At("student", 5, 10, 4.0))
        shown.heard(jobs[0], here)
        shown.heard(jobs[0], "warning: mind this")
        overview.ended(jobs[0], None)
        shown.ended(jobs[0], "student 97.00%", False)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capture.get())
    for line in ("3 runs, 1 of them finished before", "runs/kd-seed0: warning: mind this", "kd-seed0: student 97.00%"):
        assert line in text
    assert re.search(r"1 of 3 runs .*━.* \d+:\d\d left", text)
    assert re.search(r"runs/kd-seed0 +━.* student 5/10", text)
    assert "2 of 3 runs" in text

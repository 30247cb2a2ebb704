"""`docendo demo`."""

import json
from pathlib import Path

from docendo.cli.demo import METHODS
from tests.cli.conftest import call


def test_demo_trains_compares_and_reuses(tmp_path: Path) -> None:
    words = ("demo", "--seeds", "0", "--epochs", "1", "--jobs", "1")
    first = call(*words)
    assert (first.code, first.err) == (0, "")
    runs = sorted(p.name for p in (tmp_path / "runs/demo/runs").iterdir())
    names = {"ctkd": "collaborative_teaching"}
    assert runs == sorted(f"{names.get(method, method)}-seed0" for method in METHODS)
    assert sorted(p.name for p in (tmp_path / "runs/demo/teachers").iterdir()) == [
        "sftn-teacher-seed0",
        "teacher-seed0",
    ]
    assert "\n9 runs\n[1/9] runs/plain-seed0: student " in first.out
    lines = [line.split() for line in first.out.partition("─\n")[2].splitlines()]
    assert [line[:2] for line in lines[: len(METHODS)]] == [[names.get(method, method), "1"] for method in METHODS]
    assert first.out.count("one seed cannot tell") + first.out.count(" equal") >= 1
    assert "The report: runs/demo/report.html\n" in first.out
    assert "\nSizes: student 77,754 parameters, 0.76 M MACs; teacher 272,186 parameters, 2.53 M MACs.\n" in first.out
    assert first.out.endswith("\nTry: docendo evaluate runs/demo/runs/sftn-seed0\n")
    command = json.loads((tmp_path / "runs/demo/index.json").read_text())["command"]
    assert command == f"docendo compare {' '.join(METHODS)} --data digits --epochs 1 --seeds 0 --out runs/demo"
    second = call(*words)
    assert "\n9 runs, 9 of them finished before\n" in second.out
    assert second.out.partition("─\n")[2].partition("Runs,")[0] == first.out.partition("─\n")[2].partition("Runs,")[0]
    other = call("demo", "--seeds", "0", "--epochs", "2", "--jobs", "1")
    assert other.code == 2
    assert "epochs is 1 there, 2 here" in other.err

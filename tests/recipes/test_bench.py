"""What `docendo bench` measures, and that it measures the run that would be."""

import json
from pathlib import Path
from typing import Any

import pytest

import docendo
from docendo.cli.app import main
from docendo.errors import DocendoError

SMALL: dict[str, Any] = {"student": "resnet8", "set": {"data.train_images": 200}, "batch_size": 32}


@pytest.fixture(autouse=True)
def _own_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_every_phase_is_measured_part_by_part() -> None:
    epochs, steps = 7, 7  # of 200 images, all in training
    more = {**SMALL, "set": {**SMALL["set"], "data.validation": 0}}
    measured = docendo.bench("kd", teacher="resnet8", steps=3, rounds=2, epochs=epochs, **more)
    assert [phase.name for phase in measured.phases] == ["teacher", "student"]
    assert [phase.floor for phase in measured.phases] == ["teacher", "student"]
    for phase in measured.phases:
        assert set(phase.parts) == {"data", "frozen networks", "learners", "optimizer"}
        assert min(phase.parts.values()) >= 0
        assert phase.images_per_second == pytest.approx(32 / phase.milliseconds * 1000)
        assert phase.seconds == pytest.approx(epochs * steps * phase.milliseconds / 1000)
        assert phase.ratio is not None
        assert phase.ratio > 0
    assert measured.seconds == pytest.approx(sum(phase.seconds for phase in measured.phases))
    rates = [phase.images_per_second for phase in measured.phases]
    assert min(rates) <= measured.images_per_second <= max(rates)


def test_a_phase_of_parts_of_networks_has_no_bare_step() -> None:
    hint = docendo.bench("fitnet", teacher="resnet8", steps=1, rounds=1, **SMALL).phases[1]
    assert (hint.name, hint.floor, hint.floor_milliseconds, hint.ratio) == ("hint", None, None, None)


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    docendo.bench("plain", steps=1, rounds=1, **SMALL)
    assert list(tmp_path.iterdir()) == []


def test_the_command_prints_a_table_or_json(capsys: pytest.CaptureFixture[str]) -> None:
    few = ["--steps", "1", "--rounds", "1", "--set", "data.train_images=200"]
    words = ["bench", "kd", "--student", "resnet8", *few]
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["phase", "teacher", "student"]
    parts = ("  data", "  frozen networks", "  learners", "  optimizer")
    for what in ("images/s", "ms a step", *parts, "ms a bare step", "a step by the bare step", "whole phase"):
        (line,) = (line for line in lines if line.startswith(f"{what}  "))
        assert len(line.removeprefix(what).split()) == 2
    assert any(line.startswith("All phases: about 0:") for line in lines)
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["images_per_second"] > 0
    assert found["phases"][1]["floor"] == "student"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"steps": 0}, "steps=0, rounds=3: give at least 1 of both"),
        ({"rounds": -1}, "steps=30, rounds=-1: give at least 1 of both"),
        ({"devices": 2}, "bench works in one process: leave --devices and --nodes out"),
    ],
)
def test_mistakes(given: dict[str, int], message: str) -> None:
    with pytest.raises(DocendoError, match=message):
        docendo.bench("plain", **{**SMALL, **given})

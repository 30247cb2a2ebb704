"""What tools are told of a run: TensorBoard for real, the others as modules that keep what they are told."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import docendo
from docendo.engine.progress import Silent
from docendo.errors import DocendoError
from docendo.recipes.logs import logging_to

ROW = {"phase": "student", "epoch": 2, "lr": 0.05, "loss/student<teacher:kd": 1.5, "val_top1/student": 0.5}
LOGGED = {"student/lr": 0.05, "student/loss/student_from_teacher_kd": 1.5, "student/val_top1/student": 0.5}
SETTINGS = {"method": "kd", "data": {"name": "digits"}}

Calls = list[tuple[str, Any, Mapping[str, Any]]]


class Told(ModuleType):
    """A module that keeps every call, and answers as the tool would."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.calls: Calls = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def call(*given: Any, **named: Any) -> Any:
            self.calls.append((name, given, named))
            return SimpleNamespace(
                info=SimpleNamespace(run_id="abc"),
                log=lambda values: self.calls.append(("run.log", (values,), {})),
                summary=SimpleNamespace(update=lambda values: self.calls.append(("summary", (values,), {}))),
                finish=lambda **how: self.calls.append(("run.finish", (), how)),
            )

        return call


@pytest.fixture
def told(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Told:
    module = Told(request.param)
    monkeypatch.setitem(sys.modules, request.param, module)
    return module


def test_a_run_without_a_look_at_the_test_images_is_logged_too(small_run: Any) -> None:
    run = small_run("plain", student="tiny", epochs=1, log="tensorboard", test=False)
    assert run.results["networks"]["student"]["test_top1"] is None


def go(name: str, folder: Path) -> None:
    with logging_to(name, folder, SETTINGS) as log:
        log.epoch(ROW)
        (folder / "results.json").write_text(json.dumps({"networks": {"student": {"test_top1": 0.75}}}))


@pytest.mark.parametrize("told", ["wandb"], indirect=True)
def test_wandb(told: Told, tmp_path: Path) -> None:
    go("wandb", tmp_path)
    (start, _, named), *rest = told.calls
    assert start == "init"
    assert named["name"] == tmp_path.name
    assert named["config"] == SETTINGS
    assert named["resume"] == "allow"
    assert rest == [
        ("run.log", ({**LOGGED, "epoch": 2},), {}),
        ("summary", ({"test_top1/student": 0.75},), {}),
        ("run.finish", (), {"exit_code": 0}),
    ]


@pytest.mark.parametrize("told", ["trackio"], indirect=True)
def test_trackio(told: Told, tmp_path: Path) -> None:
    go("trackio", tmp_path)
    (start, _, named), *rest = told.calls
    assert start == "init"
    assert named["config"] == SETTINGS
    assert rest == [
        ("log", ({**LOGGED, "epoch": 2},), {}),
        ("log", ({"test_top1/student": 0.75},), {}),
        ("finish", (), {}),
    ]


@pytest.mark.parametrize("told", ["mlflow"], indirect=True)
def test_mlflow_goes_on_with_the_same_run(told: Told, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), logging_to("mlflow", tmp_path, SETTINGS):
        _ = 1 / 0
    assert [name for name, _, _ in told.calls] == ["set_experiment", "start_run", "log_params", "end_run"]
    assert told.calls[2][1] == ({"method": "kd", "data.name": "digits"},)
    assert told.calls[3][1] == ("FAILED",)
    told.calls.clear()
    go("mlflow", tmp_path)
    assert told.calls[1:] == [
        ("start_run", (), {"run_id": "abc"}),
        ("log_metrics", (LOGGED,), {"step": 2}),
        ("log_metrics", ({"test_top1/student": 0.75},), {"step": None}),
        ("end_run", ("FINISHED",), {}),
    ]


@pytest.mark.parametrize("told", ["wandb"], indirect=True)
def test_a_finished_run_is_not_told_again(told: Told, tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text("{}")
    with logging_to("wandb", tmp_path, SETTINGS) as log:
        log.epoch(ROW)
    assert told.calls == []


def test_tensorboard_shows_what_the_run_wrote(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    small = {"data.train_images": 200}
    run = docendo.train("plain", epochs=2, out=tmp_path / "run", set=small, log="tensorboard", progress=Silent())
    events = EventAccumulator(str(run.folder / "tensorboard")).Reload()
    rows = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    assert "student/loss/total" in events.Tags()["scalars"]
    for tag, column in (("loss/student_from_labels_ce", "loss/student<labels:ce"), ("val_top1/student",) * 2):
        shown = events.Scalars(f"student/{tag}")
        assert [event.step for event in shown] == [1, 2]
        assert [event.value for event in shown] == pytest.approx([row[column] for row in rows], rel=1e-6)
    top1 = run.results["networks"]["student"]["test_top1"]
    assert events.Scalars("test_top1/student")[0].value == pytest.approx(top1)


def test_an_unknown_log_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(DocendoError, match='log is "tensorbord", which is unknown; did you mean "tensorboard"'):
        docendo.train("plain", log="tensorbord", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DocendoError, match=r"needs a package that is not installed: pip install 'docendo\[wandb\]'"):
        docendo.train("plain", log="wandb")

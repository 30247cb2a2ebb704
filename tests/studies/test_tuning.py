"""Searches for settings: by the validation images alone, given up early, and gone on with."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest

import docendo
from docendo.data import Split
from docendo.errors import DocendoError, Interrupted
from docendo.studies import search as searching
from docendo.studies.definition import read_definition
from docendo.studies.search import Search
from docendo.studies.space import Range
from docendo.studies.trial import suggest
from tests.conftest import SMALL, StopAt

TEST_IMAGES = 359


def tune(out: Path, method: str = "kd", **more: Any) -> tuple[docendo.Tuned, list[str]]:
    said: list[str] = []
    sets = {**SMALL, **more.pop("set", {})}
    wish = {"teacher": "resnet8", "student": "resnet8", "epochs": 2, "trials": 3, **more}
    return docendo.tune(method, out=out, set=sets, say=said.append, **wish), said


@pytest.fixture(autouse=True)
def nobody_looks_at_the_test_images(monkeypatch: pytest.MonkeyPatch) -> None:
    batches = Split.batches

    def guarded(self: Split, *args: Any, **more: Any) -> Iterator[Any]:
        assert len(self) != TEST_IMAGES
        return batches(self, *args, **more)

    monkeypatch.setattr(Split, "batches", guarded)


def test_a_search_ends_in_a_command_and_goes_on(tmp_path: Path) -> None:
    found, said = tune(tmp_path / "out")
    assert (found.finished + found.given_up, found.failed, found.images) == (3, 0, 143)
    assert said[0] == "teachers/teacher-seed0 is trained, for all trials"
    assert [line.partition("]")[0] for line in said[1:]] == ["[1/3", "[2/3", "[3/3"]
    values = {}
    for folder in sorted((tmp_path / "out/trials").iterdir()):
        results = json.loads((folder / "results.json").read_text())
        assert results["networks"]["student"]["test_top1"] is None
        values[results["networks"]["student"]["val_top1"]] = results["command"]
    assert found.value == max(values)
    assert {*found.best} == {"temperature", "kd", "ce"}
    words = shlex.split(found.command)
    for key, value in found.best.items():
        assert f"{key}={value}" in words
        assert f"{key}={value}" in shlex.split(values[found.value])
    assert words[:7] == ["docendo", "train", "kd", "--teacher", "resnet8", "--student", "resnet8"]
    assert found.comparison
    study = read_definition(found.comparison)
    assert [(one.method, one.settings) for one in study.methods] == [("plain", {}), ("kd", {}), ("kd", {**found.best})]
    assert study.seeds == (1, 2, 3)
    again, said = tune(tmp_path / "out", trials=4)
    assert [line.partition("]")[0] for line in said] == ["[4/4"]
    assert again.value
    assert again.value >= found.value
    with pytest.raises(DocendoError, match=r"belongs to another search \(methods, run, space differ\)"):
        tune(tmp_path / "out", "at", epochs=3)


def test_what_is_found_for_the_run_alone_is_compared_with_what_was_there(tmp_path: Path) -> None:
    found, _ = tune(tmp_path / "out", "plain", teacher=None, search=["lr=0.01:0.02"], trials=1, epochs=1)
    assert found.comparison
    study = read_definition(found.comparison)
    assert [one.method for one in study.methods] == ["plain"]
    assert study.vary == {"lr": (0.05, found.best["lr"])}
    assert "lr" not in study.run


def test_what_is_searched_may_be_said_and_failures_are_counted(tmp_path: Path) -> None:
    words = ["lr=1e8:1e9:log", "batch_size=32:64", "temperature"]
    found, said = tune(tmp_path / "out", search=words, trials=1)
    assert (found.value, found.best, found.failed, found.comparison) == (None, {}, 1, None)
    assert "temperature=" in said[-1]
    assert "is not finite" in said[-1]
    config = (tmp_path / "out/trials/0000/config.yaml").read_text()
    batch_size = int(config.partition("batch_size: ")[2].split()[0])
    assert 32 <= batch_size <= 64


def test_trials_that_others_surpass_are_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Strict(optuna.pruners.BasePruner):
        def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
            return trial.number > 0

    monkeypatch.setattr(searching, "_pruner", lambda name, epochs: Strict())
    found, said = tune(tmp_path / "out", trials=2)
    assert (found.finished, found.given_up) == (1, 1)
    assert "given up, as others were better by then; best " in said[-1]
    rows = (tmp_path / "out/trials/0001/metrics.jsonl").read_text().splitlines()
    assert len(rows) == 1


@pytest.mark.parametrize("killed", [False, True])
def test_a_search_that_was_stopped_goes_on_in_the_same_run(
    killed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        if killed:  # nobody puts the trial back
            patch.setattr(Search, "_put_back", lambda self, trial: None)
        with pytest.raises(Interrupted, match="stopped by SIGTERM; all is saved, and the same command goes on"):
            tune(tmp_path / "out", "label_smoothing", teacher=None, trials=2, progress=StopAt(5))
    found, _ = tune(tmp_path / "out", "label_smoothing", teacher=None, trials=2)
    assert found.finished + found.given_up == 2
    folders = sorted(p.name for p in (tmp_path / "out/trials").iterdir())
    assert folders[0] == "0000"
    assert len(folders) == 2
    assert "going on after epoch " in (tmp_path / "out/trials/0000/log.txt").read_text()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"set": {"data.validation": 0}}, r"data.validation=0 keeps none of digits: add --set data.validation=0.1"),
        ({"devices": 2, "accelerator": "cpu"}, "devices=2, nodes=1, but a trial is judged in the process that trains"),
        ({"trials": 0}, "trials is 0, but must be at least 1"),
        ({"search": ["temperatur=1:2"]}, r'unknown setting "temperatur" of kd; did you mean "temperature"\?'),
        ({"search": ["temperature=-1:2"]}, "kd: temperature is -1.0, but must be a number above 0"),
        ({"search": ["lr=0.1:0.2"], "set": {"lr": 0.1}}, "lr is set to 0.1, and searched, too"),
        ({"search": ["seed=1:2"]}, "seed cannot be searched: all trials are judged by one seed on the same images"),
        ({"search": ["temperature=1:8", "temperature=2:3"]}, "temperature is to be searched twice: give each KEY once"),
        ({"method": "plain"}, "plain has no numbers to search: say what by --search KEY=LOW:HIGH"),
    ],
)
def test_mistakes_are_found_before_anything_is_trained(more: dict[str, Any], message: str, tmp_path: Path) -> None:
    if more.get("method") == "plain":
        more = {**more, "teacher": None}
    with pytest.raises(DocendoError, match=message):
        tune(tmp_path / "out", **more)
    assert not (tmp_path / "out").exists()


def test_settings_that_are_unset_and_whole_are_searched_as_whole_numbers() -> None:
    trial = optuna.trial.FixedTrial({"data.pad": 2, "lr": 0.25, "epochs": 7})
    ranges = {"data.pad": Range(low=0, high=4), "lr": Range(low=0.1, high=0.5), "epochs": Range(low=5, high=9)}
    chosen = suggest(trial, ranges, {})
    assert [type(value) for value in chosen.values()] == [int, float, int]

"""Studies from beginning to end, small ones in this process."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import docendo
from docendo.engine.progress import Silent
from docendo.errors import DocendoError, Interrupted
from docendo.studies.definition import read_definition
from docendo.studies.folder import prepare
from docendo.studies.job import Job
from docendo.studies.overview import At, Event, Overview
from docendo.studies.plan import make_plan
from tests.conftest import SMALL, StopAt, same, weights

NETWORKS = {"teacher": "resnet14", "student": "resnet8"}


class Noted:
    """Notes what happens in a study."""

    def __init__(self, then: Callable[[Job], None] | None = None) -> None:
        self.began: list[str] = []
        self.results: dict[str, str] = {}
        self.said: list[str] = []
        self.then = then

    def begin(self, overview: Overview) -> None:
        self.overview = overview

    def started(self, job: Job) -> None:
        self.began.append(job.name)

    def heard(self, job: Job, event: Event) -> None:
        if self.then is not None and isinstance(event, At):
            self.then(job)

    def ended(self, job: Job, result: str, failed: bool) -> None:
        self.results[job.name] = result

    def say(self, text: str) -> None:
        self.said.append(text)


def compare(out: Path, *methods: Any, **more: Any) -> tuple[docendo.Study, Noted]:
    noted = more.pop("watch", Noted())
    sets = {**SMALL, **more.pop("set", {})}
    wish = {"seeds": (0, 1), **NETWORKS, "epochs": 1, **more}
    return docendo.compare(methods, out=out, set=sets, watch=noted, **wish), noted


@pytest.fixture(scope="module")
def carried_out(tmp_path_factory: pytest.TempPathFactory) -> tuple[docendo.Study, Noted]:
    """plain, kd and sftn with two seeds; the tests leave it as it is."""
    return compare(tmp_path_factory.mktemp("study") / "out", "plain", "kd", "sftn")


def test_the_folder_is_what_a_report_reads(carried_out: tuple[docendo.Study, Noted]) -> None:
    done, noted = carried_out
    folder = done.folder
    assert noted.began == [*noted.results]
    assert sorted(p.name for p in folder.iterdir() if not p.name.startswith(".")) == [
        *("index.json", "runs", "study.yaml", "teachers")
    ]
    index = json.loads((folder / "index.json").read_text())
    assert index == done.index
    assert set(index) == {"baseline", "cells", "command", "teachers"}
    assert (index["baseline"], index["teachers"]) == (
        "plain",
        ["teachers/teacher-seed0", "teachers/sftn-teacher-seed0"],
    )
    for cell in index["cells"]:
        assert cell["seeds"] == {str(seed): f"runs/{cell['label']}-seed{seed}" for seed in (0, 1)}
        assert cell["failed"] == {}
        assert cell["test_images"] == 359
        for run in cell["seeds"].values():
            assert (folder / run / "measures.json").exists()
    assert [(cell["method"], cell["baseline"]) for cell in index["cells"]] == [
        *(("plain", None), ("kd", "plain"), ("sftn", "plain"))
    ]
    assert not (folder / "teachers/teacher-seed0/measures.json").exists()
    assert yaml.safe_load((folder / "study.yaml").read_text())["seeds"] == [0, 1]


def test_the_table_is_that_of_the_results(carried_out: tuple[docendo.Study, Noted]) -> None:
    done, _ = carried_out
    for row, label in zip(done.rows, ("plain", "kd", "sftn"), strict=True):
        assert (row.label, row.network, row.failed) == (label, "resnet8", ())
        for seed, value in row.values.items():
            results = json.loads((done.folder / f"runs/{label}-seed{seed}/results.json").read_text())
            assert value == 100 * results["networks"]["student"]["test_top1"]
        assert (row.comparison is None) == (row.verdict is None) == row.is_baseline == (label == "plain")
    kd, plain = done.rows[1], done.rows[0]
    assert kd.comparison
    assert kd.summary
    assert kd.comparison.difference == pytest.approx(sum(kd.values[s] - plain.values[s] for s in (0, 1)) / 2)
    assert kd.comparison.comparisons == 2
    assert kd.summary.mean == pytest.approx(sum(kd.values.values()) / 2)


def test_runs_are_those_that_train_does(carried_out: tuple[docendo.Study, Noted], tmp_path: Path) -> None:
    """With the teacher's own seed, a shared teacher is the one that the run itself would have trained."""
    folder = carried_out[0].folder
    for method, sftn in (("kd", False), ("sftn", True)):
        alone = docendo.train(method, **NETWORKS, epochs=1, set=SMALL, out=tmp_path / method, progress=Silent())
        teacher = folder / "teachers" / ("sftn-teacher-seed0" if sftn else "teacher-seed0")
        assert same(weights(alone.folder, "teacher"), weights(teacher, "teacher"))
        assert same(weights(alone.folder, "student"), weights(folder / f"runs/{method}-seed0", "student"))
    results = [json.loads((folder / f"runs/plain-seed{seed}/results.json").read_text()) for seed in (0, 1)]
    assert [found["seed"] for found in results] == [0, 1]


def test_finished_runs_are_not_repeated_and_a_study_may_grow(
    carried_out: tuple[docendo.Study, Noted], tmp_path: Path
) -> None:
    before = shutil.copytree(carried_out[0].folder, tmp_path / "moved")
    again, noted = compare(before, "plain", "kd", "sftn")
    assert noted.began == []
    assert again.rows == carried_out[0].rows
    grown, noted = compare(before, "plain", "label_smoothing", "kd", seeds=(0, 2))
    assert noted.began == [
        *("runs/label_smoothing-seed0", "runs/plain-seed2", "runs/label_smoothing-seed2", "runs/kd-seed2")
    ]
    assert [[*row.values] for row in grown.rows] == [[0, 2]] * 3
    with pytest.raises(DocendoError, match=r"plain-seed0 belongs to another run \(epochs is 1 there, 2 here\)"):
        compare(before, "plain", "kd", epochs=2)


def test_what_was_begun_goes_on_though_its_folder_has_moved(
    carried_out: tuple[docendo.Study, Noted], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = carried_out[0]
    moved = shutil.copytree(done.folder, tmp_path / "elsewhere")
    for name in ("results.json", "student.safetensors", "teacher.safetensors"):
        (moved / "runs/kd-seed1" / name).unlink()
    monkeypatch.chdir(tmp_path)
    again = docendo.study("elsewhere", watch=(noted := Noted()))
    assert (noted.began, again.failed) == (["runs/kd-seed1"], {})
    assert again.rows == done.rows
    assert same(weights(moved / "runs/kd-seed1", "student"), weights(done.folder / "runs/kd-seed1", "student"))
    config = yaml.safe_load((moved / "runs/kd-seed1/config.yaml").read_text())
    assert config["networks"]["teacher"] == "elsewhere/teachers/teacher-seed0/teacher.safetensors"


def test_who_reaches_the_folder_by_another_path_leaves_runs_alone_that_were_begun(
    carried_out: tuple[docendo.Study, Noted], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another worker may be doing them."""
    moved = shutil.copytree(carried_out[0].folder, tmp_path / "study")
    begun = moved / "runs/kd-seed1"
    (begun / "results.json").unlink()
    plan = make_plan(read_definition(moved / "study.yaml"), moved)
    before = {path: path.read_bytes() for path in begun.rglob("*") if path.is_file()}
    assert any(path.parent.name == "checkpoints" for path in before)
    prepare(moved, plan)
    assert {path: path.read_bytes() for path in begun.rglob("*") if path.is_file()} == before


def test_a_run_that_fails_stops_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "grid.yaml"
    hot = {"method": "kd", "label": "hot", "settings": {"kd": 1e38}}
    definition = {"methods": ["plain", hot, "label_smoothing"], "seeds": [0], "networks": [NETWORKS]}
    file.write_text(yaml.safe_dump({**definition, "run": {"epochs": 1, **SMALL}}))
    done = docendo.study(file, out=tmp_path / "out", watch=(noted := Noted()))
    assert [*done.failed] == ["runs/hot-seed0"]
    assert "is not finite" in done.failed["runs/hot-seed0"]
    assert noted.results["runs/hot-seed0"] == done.failed["runs/hot-seed0"] == done.index["cells"][1]["failed"]["0"]
    assert [len(row.values) for row in done.rows] == [1, 0, 1]
    assert done.rows[1].verdict is None
    assert done.rows[2].verdict
    assert "one seed cannot tell" in done.rows[2].verdict.text
    again = docendo.study(tmp_path / "out", watch=(noted := Noted()))
    assert noted.began == ["runs/hot-seed0"]  # what failed is tried again
    assert again.failed == done.failed


def test_what_needs_a_teacher_that_failed_is_not_begun(tmp_path: Path) -> None:
    done, noted = compare(tmp_path / "out", "sftn", seeds=(0,), set={"branch_kl": 1e38})
    assert noted.began == ["teachers/sftn-teacher-seed0"]
    assert done.failed["runs/sftn-seed0"] == "teachers/sftn-teacher-seed0 failed, and this run needs its weights"


def test_a_stopped_study_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop = StopAt(1)

    def at_the_student(job: Job) -> None:
        if job.name == "runs/kd-seed0":
            stop.step(0, 0, 0, dict)

    monkeypatch.chdir(tmp_path)
    with pytest.raises(Interrupted, match=r"SIGTERM, 1 of 2 runs finished; .* Go on with: docendo study out$") as error:
        compare(Path("out"), "kd", seeds=(0,), watch=Noted(at_the_student))
    assert error.value.exit_code == 143
    again = docendo.study(tmp_path / "out", watch=(noted := Noted()))  # the same folder by another path
    assert noted.began == ["runs/kd-seed0"]
    assert len(again.rows[0].values) == 1
    assert "going on after epoch 0, step " in (tmp_path / "out/runs/kd-seed0/log.txt").read_text()


def test_a_process_of_its_own_does_the_same(carried_out: tuple[docendo.Study, Noted], tmp_path: Path) -> None:
    """That several share the work, and one that dies is replaced, is tested where Python need not start for each."""
    done, _ = compare(tmp_path / "out", "plain", teacher=None, seeds=(0,), jobs=2)
    assert done.failed == {}
    assert done.rows[0].values[0] == carried_out[0].rows[0].values[0]


def test_mistakes_about_folders(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").touch()
    with pytest.raises(DocendoError, match="holds files but no study"):
        compare(tmp_path / "thesis", "kd")
    with pytest.raises(DocendoError, match="is a file"):
        compare(tmp_path / "thesis" / "thesis.tex", "kd")
    with pytest.raises(DocendoError, match="jobs is 0, but must be at least 1"):
        compare(tmp_path / "new", "kd", jobs=0)
    assert not (tmp_path / "new").exists()

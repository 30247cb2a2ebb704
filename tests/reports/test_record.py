"""What is found in folders of runs."""

import json
import shutil
from pathlib import Path

import pytest

from docendo.errors import DocendoError
from docendo.reports.reading import read_record
from docendo.reports.record import Failure
from tests.reports.conftest import Made


def test_a_study_is_read_by_its_index(study: Path) -> None:
    record = read_record(study)
    assert [cell.label for cell in record.cells] == ["plain", "kd"]
    assert [sorted(cell.runs) for cell in record.cells] == [[0, 1], [0, 1]]
    assert record.failures == (Failure("kd", 2, "the loss is not finite"), Failure("at", 0, "no stages to compare"))
    assert [run.folder.name for run in record.teachers] == ["plain-seed0"]
    assert record.command == "docendo compare plain kd --seeds 0,1,2"
    (group,) = record.groups
    assert (group.data, group.network, group.tested()) == ("digits", "resnet8", 359)
    assert group.baseline is record.cells[0]


def test_cells_are_compared_with_the_baseline_that_the_index_names(study: Path, tmp_path: Path) -> None:
    shutil.copytree(study, tmp_path / "study")
    index = json.loads((tmp_path / "study" / "index.json").read_text())
    plain, kd, at = index["cells"]
    others = ({**plain, "label": "plain-lr1"}, {**kd, "label": "kd-lr1", "baseline": "plain-lr1", "test_images": 500})
    (tmp_path / "study" / "index.json").write_text(json.dumps({**index, "cells": [plain, kd, at, *others]}))
    first, second = read_record(tmp_path / "study").groups
    assert [cell.label for cell in first.cells] == ["plain", "kd"]
    assert [cell.label for cell in second.cells] == ["plain-lr1", "kd-lr1"]
    assert (first.name, first.tested()) == ("digits, resnet8, beside plain", 359)
    assert (second.name, second.tested()) == ("digits, resnet8, beside plain-lr1", 500)
    (together,) = read_record(tmp_path / "study", "kd").groups
    assert together.baseline is not None
    assert (together.baseline.label, len(together.cells)) == ("kd", 4)


def test_an_unfinished_study_shows_what_is_there(study: Path, tmp_path: Path) -> None:
    shutil.copytree(study, tmp_path / "study")
    shutil.rmtree(tmp_path / "study/runs/kd-seed1")
    record = read_record(tmp_path / "study")
    assert [sorted(cell.runs) for cell in record.cells] == [[0, 1], [0]]


def test_a_folder_of_runs_is_read_by_their_names(made: Made, tmp_path: Path) -> None:
    made("teacher-0", 0.5, method="plain", networks={"teacher": "wrn_10_2"})
    weights = "elsewhere/teacher-0/teacher.safetensors"
    for seed in (0, 1):
        made(f"plain-{seed}", 0.3)
        made(f"kd-seed{seed}", 0.4, networks={"student": "resnet8", "teacher": weights}, others={"teacher": 0.5})
    made("kd_resnet14-0", 0.4, method="kd", networks={"student": "resnet14"})
    made("plain_resnet14-0", 0.35, method="plain", networks={"student": "resnet14"})
    (tmp_path / "notes").mkdir()
    record = read_record(tmp_path)
    assert [run.folder.name for run in record.teachers] == ["teacher-0"]
    assert {(group.network, group.baseline.label if group.baseline else "") for group in record.groups} == {
        ("resnet8", "plain"),
        ("resnet14", "plain_resnet14"),
    }
    assert {cell.label: sorted(cell.runs) for cell in record.cells}["kd"] == [0, 1]


def test_the_baseline_can_be_named(made: Made, tmp_path: Path) -> None:
    for label in ("plain", "kd", "dkd"):
        made(f"{label}-0", 0.3)
    (group,) = read_record(tmp_path, "kd").groups
    assert group.baseline is not None
    assert group.baseline.label == "kd"
    with pytest.raises(DocendoError, match='has no "kdd" to compare with; did you mean "kd"'):
        read_record(tmp_path, "kdd")


def test_without_plain_training_nothing_is_compared_with(made: Made, tmp_path: Path) -> None:
    made("kd-0", 0.3)
    made("dkd-0", 0.3)
    assert read_record(tmp_path).groups[0].baseline is None


def test_a_number_of_images_is_found_in_accuracies(made: Made, tmp_path: Path) -> None:
    made("plain-0", 2498 / 10_000)
    made("kd-0", 3125 / 10_000)
    assert [run.tested() for run in read_record(tmp_path).runs] == [16, 5000]
    assert read_record(tmp_path).groups[0].tested() == 10_000


def test_a_number_of_images_that_results_hold_is_believed(made: Made, tmp_path: Path) -> None:
    path = made("plain-0", 0.5).folder / "results.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "images": {"train": 8, "val": 0, "test": 4}}))
    assert read_record(tmp_path).groups[0].tested() == 4


RESULTS = json.dumps({"method": "kd", "seed": 0, "data": "digits", "deployed": "student", "networks": {"student": {}}})


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "holds no finished run"),
        ({"config.yaml": "epochs: 3"}, "has not finished: go on with it by --resume"),
        ({"results.json": "{"}, r"results\.json is damaged"),
        ({"results.json": "[]"}, "holds no JSON object"),
        ({"results.json": "{}"}, r"results\.json is damaged \(there is no method\)"),
        ({"results.json": RESULTS, "config.yaml": "["}, r"config\.yaml is not a YAML file"),
    ],
)
def test_what_cannot_be_read_is_named(files: dict[str, str], message: str, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(DocendoError, match=message) as caught:
        read_record(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DocendoError, match="is no folder"):
        read_record(tmp_path / "nothing")


def test_metrics_are_the_same_from_both_files(study: Path, tmp_path: Path) -> None:
    shutil.copytree(study / "runs", tmp_path / "runs")
    for path in (tmp_path / "runs").glob("*/metrics.jsonl"):
        path.unlink()
    from_lines = {run.folder.name: run for run in read_record(study).runs}
    from_tables = {run.folder.name: run for run in read_record(tmp_path / "runs").runs}
    assert len(from_lines) == 4
    assert from_lines.keys() == from_tables.keys()
    for name, run in from_lines.items():
        assert run.curve() == from_tables[name].curve() != []
        assert [row["loss/total"] for row in run.rows] == [row["loss/total"] for row in from_tables[name].rows]


def test_the_curve_is_of_the_last_phase_alone(made: Made, tmp_path: Path) -> None:
    rows = [
        {"phase": "generation 0", "epoch": 1, "loss/student<labels:ce": 2.0, "val_top1/student": 0.1},
        {"phase": "generation 1", "epoch": 1, "loss/student<labels:ce": 1.0, "val_top1/student": 0.25},
        {"phase": "teacher", "epoch": 1, "loss/teacher<labels:ce": 1.0, "val_top1/teacher": 0.9},
    ]
    assert made("ban-0", 0.3, rows=rows).curve() == [(1, 25.0)]


def test_runs_of_seeds_side_by_side_bear_their_methods_name(study: Path, tmp_path: Path) -> None:
    for seed in (0, 1):
        shutil.copytree(study / "runs" / f"kd-seed{seed}", tmp_path / "several" / f"seed-{seed}")
    (group,) = read_record(tmp_path / "several").groups
    assert [(cell.label, sorted(cell.runs)) for cell in group.cells] == [("kd", [0, 1])]

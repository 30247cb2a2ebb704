"""What a run's measures say, against its results and against its own logits."""

import base64
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import docendo
import docendo.data
from docendo.data import DataSettings
from docendo.engine.progress import Silent
from docendo.errors import DocendoError
from docendo.networks import load
from docendo.recipes.measure import beside_of, measure, measure_all
from docendo.recipes.pictures import MOST, choose


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("measure") / "run"
    small = {"data.train_images": 200, "checkpoint_seconds": 0}
    docendo.train("kd", teacher="resnet8", epochs=2, out=folder, set=small, progress=Silent())
    return folder


@pytest.fixture(scope="module")
def found(run: Path) -> dict[str, Any]:
    return measure(run)


def test_the_file_holds_what_is_given(run: Path, found: dict[str, Any]) -> None:
    assert json.loads((run / "measures.json").read_text()) == found


def test_accuracies_are_those_of_the_run(run: Path, found: dict[str, Any]) -> None:
    results = json.loads((run / "results.json").read_text())
    assert found["networks"].keys() == results["networks"].keys()
    for role, about in results["networks"].items():
        assert found["networks"][role]["top1"] == about["test_top1"]
    assert found["command"] == results["command"]


def test_the_student_stands_beside_its_teacher(found: dict[str, Any]) -> None:
    assert found["beside"] == "teacher"
    assert "teacher" not in found["networks"]["teacher"]
    beside = found["networks"]["student"]["teacher"]
    assert beside["top1"] == found["networks"]["teacher"]["top1"]
    assert np.array(beside["similarity"]).shape == (3, 3)
    assert (sum(beside["gained"]) - sum(beside["lost"])) / 359 == pytest.approx(
        found["networks"]["student"]["top1"] - beside["top1"]
    )


def test_pictures_are_test_images_with_the_answers_to_them(run: Path, found: dict[str, Any]) -> None:
    images = docendo.data.load(DataSettings(train_images=200))
    assert 0 < len(found["pictures"]) <= MOST
    batch = next(images.test.batches(len(images.test)))
    networks = {role: load(run / f"{role}.safetensors").eval() for role in ("student", "teacher")}
    with torch.no_grad():
        says = {role: network(batch.images).logits.softmax(dim=1) for role, network in networks.items()}
    for picture in found["pictures"]:
        i = picture["index"]
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture["png"]))))
        seen = (pixels / 255 - images.mean[0]) / images.std[0]
        assert np.allclose(seen, batch.images[i, 0], atol=1e-5)
        assert picture["label"] == images.classes[int(batch.labels[i])]
        assert len({picture["label"], *(answer[0] for answer in picture["answers"].values())}) > 1
        for role, (name, probability) in picture["answers"].items():
            assert probability == pytest.approx(float(says[role][i].max()), abs=1e-4)
            assert name == images.classes[int(says[role][i].argmax())]


def test_robustness_and_latency_are_measured_when_asked_for(run: Path, found: dict[str, Any]) -> None:
    assert "corruption" not in found["networks"]["student"]
    more = measure(run, robustness=True, latency=True)["networks"]["student"]
    assert 0 <= more["corruption"]["mean"] <= 1
    assert more["latency"]["images"] == 1


def test_without_a_teacher_the_surest_errors_are_kept() -> None:
    labels, sure = torch.zeros(40, dtype=torch.long), torch.linspace(0.1, 0.9, 40)
    assert choose(labels, (sure, torch.ones(40, dtype=torch.long)), None) == list(range(39, 39 - MOST, -1))


def test_images_that_both_have_wrong_alike_are_left_out() -> None:
    labels, sure = torch.tensor([0, 0]), torch.tensor([0.5, 0.5])
    both = (sure, torch.tensor([1, 2]))
    assert choose(labels, both, (sure, torch.tensor([1, 1]))) == [1]


@pytest.mark.parametrize(
    ("roles", "expected"),
    [
        (("student",), None),
        (("student", "peer", "peer2"), "peer"),
        (("student", "scratch", "expert"), "expert"),
        (("student", "evolved_teacher", "teacher"), "teacher"),
        (("student", *(f"generation{i}" for i in range(11))), "generation10"),
    ],
)
def test_who_stands_beside(roles: tuple[str, ...], expected: str | None) -> None:
    assert beside_of(dict.fromkeys(roles), "student") == expected


def test_a_run_without_weights_is_refused_and_the_next_is_measured(run: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("results.json", "config.yaml"):
        shutil.copy(run / name, bare)
    with pytest.raises(DocendoError, match=r"cannot be measured without student\.safetensors: run `docendo train kd"):
        measure(bare)
    said = dict(measure_all([bare, run]))
    assert said[bare] is not None
    assert said[run] is None
    assert not (bare / "measures.json").exists()


def test_an_unfinished_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("epochs: 3")
    with pytest.raises(DocendoError, match="has not finished"):
        measure(tmp_path)

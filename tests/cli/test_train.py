"""From a command to a trained network, and what can be done with it."""

import json
from pathlib import Path
from statistics import fmean, stdev

import pytest
from PIL import Image
from sklearn.datasets import load_digits

from docendo.cli.options import RunOptions, pairs
from docendo.recipes.run import train
from docendo.recipes.settings import flags_of
from tests.cli.conftest import SMALL, Trained, call


def test_train_shows_lines_and_a_table(trained: Trained) -> None:
    code, out, err = trained.said
    assert (code, err) == (0, "")
    results = json.loads((trained.folder / "results.json").read_text())
    lines = {line.split("  ")[0].strip(): line for line in out.splitlines()}
    assert "student: epoch 1/1" in lines
    assert "student (deploy this)  teacher" in out
    assert "resnet8" in lines["network"]
    assert "resnet20" in lines["network"]
    assert f"{results['networks']['student']['test_top1']:.2%}" in lines["test top-1"]
    assert "77,754" in lines["parameters"]
    assert "at epoch 1" in lines["best validation"]
    assert "teacher.safetensors" in lines["file"]
    assert f"The network to deploy: {trained.folder}/student.safetensors".replace("\n", "") in out.replace("\n", "")
    assert out.endswith(f"  docendo evaluate {trained.folder}\n  docendo predict {trained.folder} IMAGE\n")


def test_options_become_settings(trained: Trained) -> None:
    assert "epochs: 1\n" in (trained.folder / "config.yaml").read_text()
    assert "train_images: 200\n" in (trained.folder / "config.yaml").read_text()


def test_a_run_is_not_repeated_unless_resumed(trained: Trained) -> None:
    words = ("train", "kd", *SMALL, "--out", str(trained.folder))
    refused = call(*words)
    assert refused.code == 2
    assert "already holds this run, finished: add --resume" in refused.err
    again = call(*words, "--resume")
    assert again.code == 0
    assert again.out.startswith(f"already finished: {trained.folder}\n")
    assert again.out.partition("\n\n")[2] == trained.said.out.partition("\n\n")[2]


def test_the_configuration_can_be_fed_back(trained: Trained) -> None:
    said = call(
        "train", "kd", "--config", str(trained.folder / "config.yaml"), "--out", str(trained.folder), "--resume"
    )
    assert said.code == 0


def test_evaluate_repeats_the_accuracy(trained: Trained) -> None:
    results = json.loads((trained.folder / "results.json").read_text())
    for role, about in results["networks"].items():
        found = json.loads(call("evaluate", str(trained.folder), "--role", role, "--json").out)
        assert (found["top1"], found["top5"]) == (about["test_top1"], about["test_top5"])
    said = call("evaluate", str(trained.folder / "student.safetensors"), "--data", "digits", "--split", "val")
    assert "validation images of digits\n  top-1  " in said.out


def test_predict_names_classes(trained: Trained) -> None:
    digits = load_digits()
    for i in (0, 1):
        Image.fromarray((digits.images[i] * 255 / 16).astype("uint8")).save(f"{i}.png")
    said = call("predict", str(trained.folder), "0.png", "1.png", "--top", "3")
    assert said.code == 0
    lines = said.out.splitlines()
    assert [lines[0], lines[4]] == ["0.png", "1.png"]
    assert all(line.endswith("%") for line in (*lines[1:4], *lines[5:]))
    found = json.loads(call("predict", str(trained.folder), "0.png", "--json").out)
    assert found[0]["image"] == "0.png"
    assert len(found[0]["classes"]) == 5
    assert [f"{c['name']} {c['probability']:.1%}" for c in found[0]["classes"][:3]] == [
        " ".join(line.split()) for line in lines[1:4]
    ]


@pytest.mark.parametrize("words", [("evaluate", "RUN", "--role", "studnet"), ("predict", "RUN", "none.png")])
def test_mistakes_about_a_run(words: tuple[str, ...], trained: Trained) -> None:
    said = call(*(str(trained.folder) if w == "RUN" else w for w in words))
    assert said.code == 2
    assert said.err.count("\n") == 1


def test_every_option_reaches_the_recipe() -> None:
    given = {
        **{"teacher": "a", "student": "b", "data": "c", "root": Path("d"), "download": True, "image_size": 32},
        **{"epochs": 1, "batch_size": 2, "lr": 0.1, "seed": 3, "out": Path("e"), "config": Path("f"), "resume": True},
        **{"accelerator": "cpu", "devices": 1, "strategy": "auto", "precision": "32-true"},
    }
    options = RunOptions(**given, sets=("kd=1",))
    assert options.keywords() == {**given, "set": {"kd": "1"}}
    assert set(options.keywords()) <= set(train.__kwdefaults__)
    assert RunOptions().keywords() == {"set": {}}
    assert flags_of(options.of_explain())["networks.teacher"] == "a"
    assert flags_of(options.of_explain())["data.root"] == "d"
    assert not {"out", "resume"} & set(options.of_explain())


def test_pairs_keep_what_follows_the_first_equals_sign() -> None:
    assert pairs(["data.root=a=b", " lr = 1 "]) == {"data.root": "a=b", "lr": "1"}
    assert pairs(["ema="]) == {"ema": ""}


def test_results_without_validation(trained: Trained) -> None:
    said = call("train", "plain", *SMALL, "--set", "data.validation=0", "--out", "none")
    lines = [line.split() for line in said.out.splitlines()]
    assert ["validation", "top-1", "-"] in lines
    assert ["best", "validation", "-"] in lines


def test_several_seeds_are_shown_in_one_table(tmp_path: Path) -> None:
    code, out, err = call("train", "plain", "--seeds", "0,3", *SMALL, "--out", str(tmp_path / "both"))
    assert (code, err) == (0, "")
    assert "seed 0, student: epoch 1/1" in out
    assert "seed 3, student: epoch 1/1" in out
    tops = [
        100
        * json.loads((tmp_path / "both" / f"seed-{seed}" / "results.json").read_text())["networks"]["student"][
            "test_top1"
        ]
        for seed in (0, 3)
    ]
    assert [line.split()[2] for line in out.splitlines() if line.startswith("seed") and "/both/" in line] == [
        f"{top:.2f}" for top in tops
    ]
    assert f"{fmean(tops):.2f} ± {stdev(tops):.2f}" in out
    assert out.endswith(f"  docendo report {tmp_path}/both\n  docendo evaluate {tmp_path}/both/seed-0\n")

"""Recipes by name: what they set, what goes over them, and that a run says and repeats what it was."""

import json
import math
import shlex
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image

import docendo
from docendo.cli.options import pairs
from docendo.errors import DocendoError
from docendo.methods import KD, METHODS, Plain, settings_of
from docendo.networks import create, save
from docendo.networks.catalog import canonical
from docendo.recipes.following import recipe_notes
from docendo.recipes.pairs import PAIRS
from docendo.recipes.protocols import RECIPES, dotted, recipe_named
from docendo.recipes.settings import RUN_KEYS, Request, RunSettings
from tests.conftest import Said, same, weights

SmallRun = Callable[..., docendo.Run]
DOCS = (Path(__file__).parent.parent.parent / "docs" / "recipes.md").read_text()

CIFAR10 = (0.4914, 0.4822, 0.4465)
WITHIN = (0.2023, 0.1994, 0.2010)

# epochs, images a step, rate, optimiser, weight decay, epochs after which it drops, factor, padding, mean, deviation
PUBLISHED: dict[str, tuple[int, int, float, str, float, tuple[int, ...], float, str, Any, Any]] = {
    "crd": (240, 64, 0.05, "sgd", 5e-4, (150, 180, 210), 0.1, "zero", None, None),
    "teskd": (200, 128, 0.1, "nesterov", 5e-4, (100, 150), 0.1, "zero", CIFAR10, WITHIN),
    "sokd": (200, 128, 0.1, "sgd", 5e-4, (100, 150), 0.1, "reflect", CIFAR10, (0.2470, 0.2435, 0.2616)),
    "collaborative_teaching": (
        *(200, 128, 0.1, "sgd", 5e-4, (60, 120, 160), 0.2, "reflect"),
        *(tuple(round(v / 255, 4) for v in of) for of in ((125.3, 123.0, 113.9), (63.0, 62.1, 66.7))),
    ),
    "tolerant_teacher": (164, 128, 0.1, "sgd", 1e-4, (81, 122), 0.1, "zero", CIFAR10, WITHIN),
    "imagenet": (100, 256, 0.1, "sgd", 1e-4, (30, 60, 90), 0.1, "zero", None, None),
}


def resolved(method: Any, keywords: dict[str, Any] | None = None, **more: Any) -> RunSettings:
    flags = {"recipe": "crd", **(keywords or {})}
    return Request(method, flags, **more).resolve(image_size=8, networks={"teacher": "resnet8", "student": "resnet8"})


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_recipe_is_as_published(name: str) -> None:
    s = resolved("plain", {"recipe": name})
    epochs, batch, lr, optimizer, decay, drops, factor, padding, mean, std = PUBLISHED[name]
    assert (s.epochs, s.batch_size, s.lr, s.rate) == (epochs, batch, lr, lr)
    assert (s.optimizer.name, s.optimizer.momentum, s.optimizer.weight_decay) == (optimizer, 0.9, decay)
    assert (s.optimizer.clip, s.accumulate, s.ema, s.schedule.warmup) == (None, 1, None, 0)
    for epoch in range(epochs):
        expected = math.prod([factor] * sum(epoch >= drop for drop in drops))
        assert s.schedule.factor_at(epoch / epochs) == pytest.approx(expected, rel=1e-12)
    assert (s.data.pad_mode, s.data.mean, s.data.std, s.data.validation) == (padding, mean, std, 0)


def test_the_patient_one_is_as_published() -> None:
    s = resolved("kd", {"recipe": "patient"})
    steps = 1_281_167 * 98 // 100 // 4096 * 1200
    assert s.schedule.warmup == pytest.approx(5000 / steps, rel=0.01)
    assert (s.optimizer.name, s.optimizer.clip, s.schedule.name) == ("adamw", 1, "cosine")
    assert s.lr * s.optimizer.weight_decay == pytest.approx(0.0003)
    assert s.settings == {**resolved("kd").settings, "temperature": 1, "ce": 0, "kd": 1}
    assert (s.epochs, s.batch_size, s.data.validation, s.data.smallest_crop) == (1200, 4096, 0.02, 0.05)


def test_recipes_are_complete_and_know_what_they_set() -> None:
    assert {*PUBLISHED, "patient"} == set(RECIPES)
    for name, recipe in RECIPES.items():
        sets = dict(dotted(recipe.values()))
        assert {"epochs", "batch_size", "lr", "optimizer.name", "schedule.name", "data.validation"} <= set(sets)
        assert set(sets) <= set(RUN_KEYS), name
        assert not set(sets) & {"data.name", "seed", "precision", "devices", "scale_lr"}
        assert set(recipe.meant_for) | set(recipe.methods) <= set(METHODS)
        for method, values in recipe.methods.items():
            assert set(values) <= {s.key for s in settings_of(METHODS[method])}
        assert all(canonical(student) == student for student in recipe.student_lr)


def test_names_are_forgiving_and_unknown_ones_are_told_the_nearest() -> None:
    assert recipe_named("Tolerant-Teacher") == "tolerant_teacher"
    assert resolved("kd", {"recipe": "CRD"}).recipe == "crd"
    with pytest.raises(DocendoError, match=r'^unknown recipe "imagnet"; did you mean "imagenet"\?$'):
        resolved("kd", {"recipe": "imagnet"})


def test_defaults_then_recipe_then_file_then_flags_and_sets(tmp_path: Path) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text(
        yaml.safe_dump(
            {
                "batch_size": 32,
                "optimizer": {"momentum": 0.8},
                "schedule": {"factor": 0.5},
                "settings": {"temperature": 3},
                "data": {"pad_mode": "zero"},
            }
        )
    )
    recipe, usual = resolved("sokd", {"recipe": "sokd"}), RunSettings(method="sokd")
    s = resolved(
        "sokd",
        {"recipe": "sokd", "lr": 0.3},
        config=config,
        sets={"optimizer.weight_decay": 0.001, "schedule.factor": 0.25, "a2": 0.5, "data.mean": None, "data.std": None},
    )
    assert (s.epochs, s.schedule.milestones, s.optimizer.name) == (200, (0.5, 0.75), "sgd")  # the recipe's
    assert recipe.batch_size == 128 != usual.batch_size
    assert (s.batch_size, s.optimizer.momentum, s.data.pad_mode) == (32, 0.8, "zero")  # the file's
    assert (s.lr, s.optimizer.weight_decay, s.schedule.factor) == (0.3, 0.001, 0.25)  # flags and sets
    assert (s.data.mean, s.data.std, s.data.validation) == (None, None, 0)
    assert s.settings == {**recipe.settings, "temperature": 3, "a2": 0.5}
    assert s.ema == usual.ema


def test_a_recipe_can_be_named_in_every_place(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("recipe: teskd\nepochs: 3")
    by_file = Request("teskd", config=tmp_path / "mine.yaml", sets={"data.mean": None, "data.std": None})
    assert (by_file.machine.epochs, by_file.machine.batch_size, by_file.machine.optimizer.name) == (3, 128, "nesterov")
    assert Request("kd", sets={"recipe": "crd"}).data.validation == 0
    with pytest.raises(DocendoError, match=r"mine.yaml is of the recipe teskd, and its settings would go over"):
        Request("teskd", {"recipe": "crd"}, config=tmp_path / "mine.yaml")


def test_without_a_recipe_nothing_changes() -> None:
    plain = Request("kd").resolve(image_size=32, networks={"teacher": "resnet20", "student": "resnet8"})
    assert plain == RunSettings(
        method="kd",
        settings={**resolved("kd").settings},
        networks={"teacher": "resnet20", "student": "resnet8"},
        epochs=20,
    )


@pytest.mark.parametrize(
    ("student", "lr"), [("MobileNetV2", 0.01), ("ShuffleNet-V1", 0.01), ("ShuffleV2", 0.01), ("vgg8", 0.05)]
)
def test_small_convolutions_learn_slower(student: str, lr: float) -> None:
    assert resolved("kd", {"networks.student": student}).lr == lr
    assert resolved("kd", {"networks.teacher": student, "networks.student": "vgg8"}).lr == 0.05
    assert resolved("kd", {"networks.student": student, "lr": 0.2}).lr == 0.2


def test_the_student_of_a_weights_file_counts_too(tmp_path: Path) -> None:
    network = create("ShuffleV2", classes=10, channels=1)
    save(network, tmp_path / "s.safetensors", class_names=None, mean=None, std=None, role="student")
    assert resolved("kd", {"networks.student": str(tmp_path / "s.safetensors")}).lr == 0.01


def test_the_notes_say_what_was_changed() -> None:
    def notes(method: Any, keywords: dict[str, Any] | None = None, **more: Any) -> tuple[str, ...]:
        return recipe_notes(resolved(method, keywords, **more))

    (unchanged,) = notes("kd")
    assert unchanged.startswith("recipe crd, unchanged; docendo list recipes says where docendo differs")
    (changed,) = notes("kd", {"epochs": 3}, sets={"schedule.milestones": "0.5,0.75", "temperature": 2})
    assert changed.startswith(
        "recipe crd, changed here: epochs 3 (240), schedule.milestones 0.5,0.75 (0.625,0.75,0.875), temperature 2 (4);"
    )
    assert recipe_notes(RunSettings(method="kd")) == ()
    (_, other) = notes("plain", {"recipe": "patient"})
    assert other == (
        "recipe patient is meant for kd: of plain it sets how networks are trained, but no weight of a loss"
    )
    (_, slow) = notes("kd", {"networks.student": "ShuffleV1"})
    assert slow.startswith(
        "warning: the teacher too is trained with lr 0.01 here, which the recipe has for the student"
    )
    assert len(notes("kd", {"networks.student": "ShuffleV1", "networks.teacher": "t.pth"}, sets={"lr": 0.03})) == 1


def test_an_object_keeps_its_fields() -> None:
    s = resolved(KD(temperature=2), {"recipe": "patient"})
    assert (s.settings["temperature"], s.settings["ce"], s.epochs) == (2, 0.1, 1200)
    assert "temperature 2 (1), ce 0.1 (0), kd 0.9 (1)" in recipe_notes(s)[0]


def test_a_rate_is_not_scaled_from_the_wrong_batch() -> None:
    with pytest.raises(DocendoError, match=r"scale_lr takes lr to be for 64 images .* recipe imagenet is for 256"):
        resolved("kd", {"recipe": "imagenet"}, sets={"scale_lr": "true"})
    assert resolved("kd", {"recipe": "imagenet", "lr": 0.1}, sets={"scale_lr": True}).rate == 0.4
    assert resolved("kd", {"batch_size": 128}, sets={"scale_lr": True}).rate == 0.1


def test_grey_images_need_their_own_mean() -> None:
    with pytest.raises(DocendoError, match=r"mean and std have 3 numbers, but images of digits are grey: give 1 in"):
        docendo.explain("teskd", recipe="teskd")
    found = docendo.explain("teskd", recipe="teskd", set={"data.mean": "null", "data.std": "null"})
    assert "data.mean unset (0.4914,0.4822,0.4465)" in found.notes[0]
    assert found.epochs == (200,)


def test_a_run_is_repeated_by_its_configuration_and_by_its_command(small_run: SmallRun, tmp_path: Path) -> None:
    said = Said()
    run = small_run("kd", recipe="crd", progress=said, set={"temperature": 2, "optimizer.momentum": 0.8})
    assert any(line.startswith("recipe crd, changed here: epochs 2 (240), optimizer.momentum") for line in said.lines)
    config = yaml.safe_load((run.folder / "config.yaml").read_text())
    assert (config["recipe"], config["epochs"], config["data"]["validation"]) == ("crd", 2, 0)
    assert config["settings"] == {**config["settings"], "temperature": 2, "kd": 0.9}
    assert run.results["networks"]["student"]["val_top1"] is None
    again = docendo.train("kd", config=run.folder / "config.yaml", out=tmp_path / "again", progress=Said())
    assert same(weights(run.folder, "student"), weights(again.folder, "student"))
    assert yaml.safe_load((again.folder / "config.yaml").read_text()) == config
    assert small_run("kd", recipe="crd", resume=True, set={"temperature": 2, "optimizer.momentum": 0.8}).results
    words = shlex.split(run.results["command"])
    assert words[words.index("--recipe") + 1] == "crd"
    sets = pairs(word for before, word in pairwise(words) if before == "--set")
    assert set(sets) == {"temperature", "optimizer.momentum", "data.train_images", "checkpoint_seconds"}
    options = {a.removeprefix("--"): b for a, b in zip(words[3::2], words[4::2], strict=False) if a != "--set"}
    keywords: dict[str, Any] = {"teacher": "resnet20", "student": "resnet8", "data": "digits"}
    assert options == {**keywords, "recipe": "crd", "epochs": "2", "seed": "0", "out": str(run.folder)}
    settings = Request("kd", {"recipe": "crd", "epochs": 2}, sets).resolve(image_size=8, networks=keywords)
    assert settings.model_dump(mode="json") == config


def test_going_back_to_a_default_is_written_into_the_command(small_run: SmallRun) -> None:
    run = small_run("plain", recipe="tolerant_teacher", batch_size=64, set={"data.mean": None, "data.std": None})
    words = run.results["command"]
    assert "--batch-size 64" in words
    assert "--set data.mean=null --set data.std=null" in words
    assert "--lr" not in words


def test_weights_do_not_carry_the_mean_of_the_set_they_came_from(tmp_path: Path) -> None:
    run = docendo.train(
        Plain(),
        recipe="crd",
        epochs=1,
        out=tmp_path / "run",
        set={"data.mean": [0.3], "data.std": [0.4], "data.train_images": 20},
        progress=Said(),
    )
    found = docendo.evaluate(run.folder / "student.safetensors", data="digits")
    assert found["top1"] == run.results["networks"]["student"]["test_top1"]
    assert found["top1"] == docendo.evaluate(run.folder)["top1"]
    for name in "0123456789":
        (tmp_path / "rgb" / name).mkdir(parents=True)
        for number in range(3):
            Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / "rgb" / name / f"{number}.png")
    with pytest.raises(DocendoError, match="tells 10 classes of 1-channel images apart, but rgb has 10 of 3"):
        docendo.evaluate(run.folder / "student.safetensors", data=tmp_path / "rgb")


def test_every_pair_exists_and_its_recipe_too() -> None:
    assert len({pair.name for pair in PAIRS}) == len(PAIRS)
    for pair in PAIRS:
        assert pair.recipe in RECIPES
        for name in (pair.teacher, pair.student):
            assert canonical(name) == name
            with torch.device("meta"):
                assert create(name, classes=100, image_size=32 if pair.recipe == "crd" else 224).stages
        assert pair.student_top1 < pair.kd_top1 < 100
        assert pair.student_top1 < pair.teacher_top1 < 100


def test_the_page_is_up_to_date() -> None:
    rows = {line.split("|")[1].strip(" `"): line for line in DOCS.splitlines() if line.startswith("| `")}
    for pair in PAIRS:
        accuracies = f"{pair.teacher_top1:.2f} | {pair.student_top1:.2f} | {pair.kd_top1:.2f}"
        assert f"| `{pair.name}` | {accuracies} | `{pair.recipe}` | {pair.source} |" in DOCS
    table = {line.split("|")[1].strip(" `"): line for line in DOCS.splitlines() if line.count("|") == 10}
    for name, recipe in RECIPES.items():
        assert f"| `{name}` | {recipe.source} |" in DOCS
        assert name in rows
        for deviation in recipe.deviations:
            assert f"- {deviation}\n" in DOCS
        t, d = recipe.training, recipe.data
        drops = ", ".join(f"{m * t.epochs:g}" for m in t.schedule.milestones)
        how = f"{t.lr:g}, x{t.schedule.factor:g} at {drops}" if t.schedule.name == "step" else f"{t.lr:g}, cosine"
        assert table[name].startswith(f"| `{name}` | {t.epochs} | {t.batch_size} | {how}")
        assert f"| {t.optimizer.weight_decay:g} |".replace("0.0005", "5e-4").replace("0.0001", "1e-4") in table[name]
        if d.mean is not None and d.std is not None:
            assert " / ".join(",".join(f"{v:g}" for v in of) for of in (d.mean, d.std)) in table[name]
        assert table[name].endswith(f"| {d.validation:g} |")
        for method, values in recipe.methods.items():
            written = ", ".join(f"`{k}` {json.dumps(v) if isinstance(v, bool) else v}" for k, v in values.items())
            assert f"| `{name}` | `{method}` | {written.replace('.0,', ',')}".removesuffix(".0") in DOCS

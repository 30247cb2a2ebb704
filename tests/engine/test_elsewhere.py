"""Runs on a device that is not the CPU: nothing is left behind, and no step waits for the device."""

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import docendo
from docendo.core import Batch, LossTerm, Networks, Phase
from docendo.engine.progress import Silent
from docendo.errors import Interrupted
from docendo.methods import METHODS, make
from docendo.methods.plain import LabelLosses, Plain
from docendo.recipes.run import Run, read_run
from tests.conftest import SMALL, StopAt, losses, same, weights
from tests.engine.elsewhere import begin, waits_of_steps
from tests.tiny import cast

FEW: dict[str, Any] = {"epochs": 1, "batch_size": 32, "set": {"data.train_images": 100}}
"""Four steps."""
Train = Callable[..., Run]
Call = Callable[..., Any]


@pytest.fixture(scope="module")
def call() -> Iterator[Call]:
    """Call functions in a process that has another device."""
    with ProcessPoolExecutor(1, get_context("spawn"), initializer=begin) as process:
        yield lambda function, *args, **options: process.submit(function, *args, **options).result()


@pytest.fixture
def small_run_there(call: Call, tmp_path: Path) -> Train:
    """Train there as `small_run` does here, without waiting in a step."""

    def run(method: str, out: str, **more: Any) -> Run:
        options = {"epochs": 2, "progress": Silent(), **more, "set": {**SMALL, **more.get("set", {})}}
        assert call(waits_of_steps, docendo.train, method, out=tmp_path / out, **options) == []
        return read_run(tmp_path / out)

    return run


def mixed() -> Tensor:
    return torch.ones(2, device="away") + torch.ones(2)


@dataclass(frozen=True)
class Waiting(Plain):
    """Plain training that looks at its labels."""

    def run(self, train: Callable[..., Any], build: Callable[..., Any]) -> Any:
        def losses(net: Networks, batch: Batch) -> Iterator[LossTerm]:
            batch.labels.max().item()
            yield from LabelLosses("student")(net, batch)

        return {"student": train(Phase("student", {"student": build("student")}, losses))["student"]}


def test_the_device_refuses_mixtures_and_counts_waits(call: Call, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
        call(mixed)
    run = {"out": tmp_path / "run", "epochs": 1, "student": "tiny", "set": SMALL, "progress": Silent()}
    assert call(waits_of_steps, docendo.train, Waiting(), **run) == ["_local_scalar_dense"] * 4


def assert_alike(there: Run, here: Run) -> None:
    assert losses(there) == pytest.approx(losses(here), rel=1e-4)
    for role in here.networks:
        torch.testing.assert_close(weights(there.folder, role), weights(here.folder, role), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_learns_there_what_it_learns_here(method: str, small_run: Train, small_run_there: Train) -> None:
    options = {**FEW, **cast("native", make(method).roles)}
    assert_alike(small_run_there(method, "there", **options), small_run(method, "here", **options))


@pytest.fixture
def teacher(small_run: Train) -> Path:
    return small_run("plain", "teacher", student="tiny_wide", epochs=1).folder / "student.safetensors"


@pytest.mark.parametrize(
    "sets",
    [
        {"optimizer.name": "adamw", "optimizer.clip": 1.0, "ema": 0.9, "accumulate": 2},
        {"data.memory": "stream", "data.workers": 0, "data.augment": "resized_crop"},
        {"data.augment": "resized_crop", "data.pool": 4, "teacher_memory_top": 3},
        {"data.randaugment": (1, 5), "data.cutout": 3, "teacher_memory": "off"},
        {"data.mixup": 0.2, "data.cutmix": 1.0, "precision": "64-true"},
    ],
)
def test_with_other_settings_too(sets: dict[str, Any], teacher: Path, small_run: Train, small_run_there: Train) -> None:
    options: dict[str, Any] = {"teacher": teacher, "student": "tiny", "set": sets}
    assert_alike(small_run_there("kd", "there", **options), small_run("kd", "here", **options))


@pytest.mark.parametrize("kind", ["cut", "tokens"])
def test_networks_that_were_not_written_for_it(kind: str, small_run: Train, small_run_there: Train) -> None:
    method = "collaborative_teaching"
    options = {**FEW, **cast(kind, make(method).roles)}
    assert_alike(small_run_there(method, "there", **options), small_run(method, "here", **options))


def test_stopped_at_once_and_resumed_is_straight_through(small_run_there: Train, tmp_path: Path) -> None:
    options: dict[str, Any] = {**cast("native", ("student", "peer")), "set": {"optimizer.name": "adamw"}}
    straight = small_run_there("dml", "straight", **options)
    with pytest.raises(Interrupted, match="epoch 2, step 2; all is saved"):
        small_run_there("dml", "stopped", progress=StopAt(6), **options)
    resumed = small_run_there("dml", "stopped", resume=True, **options)
    assert losses(resumed) == losses(straight)
    assert same(weights(resumed.folder, "student"), weights(straight.folder, "student"))


def test_seeds_side_by_side(teacher: Path, call: Call, small_run_there: Train, tmp_path: Path) -> None:
    off = {"teacher_memory": "off"}
    options: dict[str, Any] = {"teacher": teacher, "student": "tiny", "epochs": 2}
    seeds = {"seeds": (0, 5), "out": tmp_path / "seeds", "set": {**SMALL, **off}, "progress": Silent()}
    assert call(waits_of_steps, docendo.train_seeds, "kd", **seeds, **options) == []
    for seed in (0, 5):
        alone = small_run_there("kd", f"alone-{seed}", seed=seed, set=off, **options)
        assert_alike(read_run(tmp_path / "seeds" / f"seed-{seed}"), alone)

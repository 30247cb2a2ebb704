"""Frozen networks whose weights are shared out over the processes answer as whole ones do."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric

import docendo
from docendo.core import Batch, Phase
from docendo.engine.networks import answer, freeze
from docendo.engine.processes import everyones, first_checks, launch, make_fabric
from docendo.engine.progress import Silent
from docendo.engine.settings import TrainSettings
from docendo.engine.sharding import Sharded, sharded
from docendo.errors import DocendoError
from docendo.methods import KD
from docendo.networks import create, save
from docendo.recipes.run import _run
from docendo.recipes.settings import Request
from tests.conftest import Said, same, weights

NETWORKS = ("resnet8", "timm/vit_tiny_patch16_224")


def request(teacher: Path, shard: bool) -> Request:
    flags = {
        "networks.teacher": str(teacher),
        "networks.student": "resnet8",
        "accelerator": "cpu",
        "devices": 2,
        "epochs": 2,
        "data.train_images": 64,
        "shard_frozen": shard,
    }
    return Request("kd", flags)


def refuse() -> None:
    raise DocendoError("not so")


def work(fabric: Fabric, folder: Path) -> list[Any]:
    """Compare answers and sizes in each process, then train with whole and with shared teachers."""
    torch.set_num_threads(1)
    found = []
    for name in NETWORKS:
        torch.manual_seed(0)
        network = create(name, classes=10, image_size=32)
        freeze({"teacher": network})
        share = Sharded(network, fabric.device)
        batch = Batch.of(torch.randn(3, 3, 32, 32), torch.zeros(3))
        reads = {"teacher": frozenset({"logits", "stages.1"})}
        whole, ours = (answer({"teacher": n}, reads, batch)["teacher"] for n in (network, share))
        alike = torch.equal(whole.logits, ours.logits) and torch.equal(whole.stages[1], ours.stages[1])
        held = sum(p.to_local().numel() for p in share.parameters())  # type: ignore[attr-defined]
        found.append((alike, held / sum(p.numel() for p in network.parameters())))
    teacher = folder / "resnet14.safetensors"
    for shard in (False, True):
        _run(fabric, request(teacher, shard), folder / f"shard-{shard}", False, Silent())
    with pytest.raises(DocendoError, match="not so"):  # in every process
        first_checks(fabric, refuse)
    return everyones(fabric, found)


def test_shares_answer_and_teach_as_the_whole(tmp_path: Path) -> None:
    teacher = create("resnet14", classes=10, channels=1, image_size=8)
    save(teacher, tmp_path / "resnet14.safetensors", class_names=None, mean=None, std=None, role="teacher")
    fabric = make_fabric(request(tmp_path / "resnet14.safetensors", True).machine)
    for process in launch(fabric, work, tmp_path):
        for alike, held in process:
            assert alike
            assert held == pytest.approx(0.5, abs=0.01)
    whole, shared = tmp_path / "shard-False", tmp_path / "shard-True"
    for role in ("teacher", "student"):
        assert same(weights(whole, role), weights(shared, role))
    expected, found = (json.loads((run / "results.json").read_text())["networks"] for run in (whole, shared))
    assert expected == found
    rows = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["val_top1/student"] == expected["student"]["val_top1"]  # by two processes, and by one
    said = [(run / "log.txt").read_text().partition("teacher (frozen): ")[2][:40] for run in (whole, shared)]
    assert said[0] == said[1] != ""


def test_one_process_says_that_it_shares_nothing(small_run: Callable[..., docendo.Run]) -> None:
    said = Said()
    small_run("plain", epochs=1, progress=said, set={"shard_frozen": True, "data.train_images": 64})
    assert "shard_frozen does nothing with one process: add --devices" in said.lines


def test_moving_statistics_are_not_shared() -> None:
    network = create("resnet8", classes=10)
    phase = Phase("student", {}, KD().losses, {"teacher": network}, frozen_statistics="batch")
    with pytest.raises(DocendoError, match=r'^phase "student" lets the statistics of its frozen networks move, which'):
        sharded(phase, phase.frozen, torch.device("cpu"))


def test_the_learning_rate_is_scaled_only_when_asked(small_run: Callable[..., docendo.Run]) -> None:
    for scale, rate in ((False, 0.05), (True, 0.05 * 128 / 64)):
        said = Said()
        sets = {"scale_lr": scale, "accumulate": 4, "data.train_images": 64}
        run = small_run("plain", f"scale-{scale}", batch_size=32, lr=0.05, progress=said, set=sets, epochs=1)
        row = json.loads((run.folder / "metrics.jsonl").read_text())
        assert row["lr"] == rate
        assert ("lr 0.05 for 64 images a step is 0.1 for 128" in said.lines) == scale
    assert TrainSettings(lr=0.1, batch_size=32, scale_lr=True).rate == 0.05

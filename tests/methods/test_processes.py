"""Several processes give the weights of one at the same global batch, for every method."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric

from docendo.engine.processes import launch, make_fabric
from docendo.engine.progress import Silent
from docendo.methods import METHODS
from docendo.recipes.run import _run
from docendo.recipes.settings import Request
from tests.conftest import weights

# 3 does not divide 64, nor the last batch of an epoch, 200 - 3 * 64 = 8: the parts differ in size.
PROCESSES = (2, 3)


def request(method: str, processes: int, precision: str) -> Request:
    epochs = 25 if method == "plain" else 13  # of 4 steps, in one phase or two
    steps = {"64-true": {"epochs": epochs}, "32-true": {"epochs": 1, "data.train_images": 64}}[precision]
    flags = {
        "accelerator": "cpu",
        "devices": processes,
        "precision": precision,
        "data.train_images": 200,
        "networks.student": "resnet8",
        "lr": 0.02,
        **({"networks.teacher": "resnet8"} if method != "plain" else {}),
        **steps,
    }
    return Request(method, flags)


def train_all(fabric: Fabric, folder: Path, precision: str) -> None:
    torch.set_num_threads(1)
    for method in METHODS:
        _run(
            fabric,
            request(method, fabric.world_size, precision),
            folder / f"{method}-{fabric.world_size}",
            False,
            Silent(),
        )


@pytest.fixture(scope="module", params=["64-true", "32-true"])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder, precision = tmp_path_factory.mktemp("processes"), request.param
    for processes in (1, *PROCESSES):
        fabric = make_fabric(globals()["request"]("plain", processes, precision).machine)
        launch(fabric, train_all, folder, precision)
    return folder, precision


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("processes", PROCESSES)
def test_weights_are_those_of_one_process(method: str, processes: int, trained: tuple[Path, str]) -> None:
    folder, precision = trained
    one, several = folder / f"{method}-1", folder / f"{method}-{processes}"
    for path in one.glob("*.safetensors"):
        expected, found = weights(one, path.stem), weights(several, path.stem)
        if precision == "64-true":  # stored in float32, so that they agree but for the last bit
            for name, tensor in expected.items():
                torch.testing.assert_close(found[name], tensor, rtol=1e-6, atol=1e-9)
        else:  # one step in float32, whose rounding may turn a ReLU that stood at zero, which is seen in the gradient
            for name, tensor in expected.items():
                if "running" in name:
                    torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=1e-5)
            a, b = (torch.cat([t.double().flatten() for t in w.values()]) for w in (expected, found))
            assert (a - b).norm() < 3e-5 * a.norm()
    rows = [[json.loads(line) for line in (f / "metrics.jsonl").read_text().splitlines()] for f in (one, several)]
    for first, second in zip(*rows, strict=True):
        for key in first:
            if key.startswith("loss/"):
                assert second[key] == pytest.approx(first[key], rel=1e-12 if precision == "64-true" else 1e-3)


COMMAND = ["train", "plain", "--student", "resnet8", "--epochs", "40", "--devices", "2", "--accelerator", "cpu"]


def test_two_processes_stop_together_and_go_on(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "docendo",
        *COMMAND,
        "--set",
        "data.train_images=640",
        "--out",
        str(tmp_path / "run"),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    metrics = tmp_path / "run" / "metrics.jsonl"
    while not metrics.exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate()
    assert process.returncode == 143, errors
    assert "stopped by SIGTERM" in errors
    assert "--resume" in errors
    subprocess.run([*command, "--resume"], check=True, env=environment, capture_output=True)
    assert len(metrics.read_text().splitlines()) == 40


def test_a_mistake_in_a_process_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "docendo", *COMMAND, "--data", str(tmp_path), "--out", str(tmp_path / "run")]
    refused = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert refused.returncode == 2
    assert str(tmp_path) in refused.stderr.splitlines()[-1]
    assert refused.stderr.count("docendo: ") == 1
    assert "Traceback" not in refused.stderr


def test_torchrun_starts_the_processes(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "-m",
        "docendo",
        "train",
        "plain",
    ]
    command += ["--student", "resnet8", "--epochs", "1", "--accelerator", "cpu", "--set", "data.train_images=200"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, "--out", str(tmp_path / "run")], check=True, capture_output=True, env=environment)
    assert json.loads((tmp_path / "run" / "results.json").read_text())["epochs"] == 1

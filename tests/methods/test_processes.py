"""Several processes give the weights of one at the same global batch, for every method."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import DoublePrecision, Precision

import docendo
from docendo.engine.processes import launch, make_fabric
from docendo.engine.progress import Silent
from docendo.methods import METHODS, make
from docendo.methods.taught import Taught
from docendo.recipes.run import _run
from docendo.recipes.settings import Request
from tests.conftest import weights
from tests.tiny import cast  # importing it makes the tiny networks known, in spawned processes too

STEPS = {2: 100, 3: 12}
"""Steps in all phases together, in float64, by the number of processes; three on two cores wait for each other."""
BATCH, LAST_BATCH = 8, 4  # 3 divides neither: the parts differ in size

# Every method as it is; and what processes could get wrong: turns, weights in two networks, buffers that drift.
# Those that differ from kd in their losses alone are tried together: each term is compared with that of one process.
# SimKD makes another network of its student and so stands alone, as kd does.
LOSSES = [m for m, cls in METHODS.items() if issubclass(cls, Taught) and m not in ("kd", "simkd")]
CASES: list[tuple[str, dict[str, Any]]] = [
    *((method, {}) for method in METHODS if method not in LOSSES),
    ("kd", {"add": ",".join(LOSSES)}),
    ("dml", {"updates": "alternating"}),
    ("collaborative_teaching", {"share_stem": True, "expert_to": "both"}),
    ("sokd", {"frozen_statistics": "batch", "transfer": "hint"}),
    ("plain", {"networks": "resnet8"}),
]
NAMES = [" ".join([method, *(f"{key}={value}" for key, value in settings.items())]) for method, settings in CASES]
PRECISIONS = {"64-true": DoublePrecision, "32-true": Precision}


def request(method: str, settings: dict[str, Any], processes: int, precision: str, steps: int) -> Request:
    """Ask for so many steps or a few more in all phases together, in float64; for one step a phase, in float32.

    A network of the catalog gets 20 steps: each of its many normalised layers makes the processes meet.
    """
    own = {key: value for key, value in settings.items() if key != "networks"}
    roles = make(method, own).roles
    networks = cast("light", roles) if own == settings else dict.fromkeys(roles, settings["networks"])
    images, batch, epochs = 64, 64, 1
    if precision == "64-true":
        batch, epochs = BATCH, 2
        in_all = sum(docendo.explain(method, set=own, epochs=epochs, **networks).epochs)
        images = math.ceil((20 if "networks" in settings else steps) / in_all) * batch - (batch - LAST_BATCH)
    machine = {"accelerator": "cpu", "devices": processes, "precision": precision, "lr": 0.005}
    sizes = {"data.train_images": images, "batch_size": batch, "epochs": epochs}
    named = {f"networks.{role}": name for role, name in networks.items()}
    return Request(method, {**machine, **sizes, **named}, own)


def train_all(fabric: Fabric, folder: Path, steps: int) -> None:
    torch.set_num_threads(1)
    for precision, plugin in PRECISIONS.items():
        # To start processes once for both; Fabric itself would have one precision for its whole life.
        fabric._precision = fabric._strategy._precision = plugin()
        for name, (method, settings) in zip(NAMES, CASES, strict=True):
            wish = request(method, settings, fabric.world_size, precision, steps)
            _run(fabric, wish, run_folder(folder, precision, name, fabric.world_size, steps), False, Silent())


def run_folder(folder: Path, precision: str, name: str, processes: int, steps: int) -> Path:
    return folder / precision / f"{name}, {processes} processes, {steps} steps"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("processes")
    for several, steps in STEPS.items():
        for processes in (1, several):
            machine = request("plain", {}, processes, "32-true", steps).machine
            launch(make_fabric(machine), train_all, folder, steps)
    return folder


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("processes", STEPS)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_weights_are_those_of_one_process(precision: str, processes: int, name: str, trained: Path) -> None:
    one, several = (run_folder(trained, precision, name, n, STEPS[processes]) for n in (1, processes))
    for path in one.glob("*.safetensors"):
        expected, found = weights(one, path.stem), weights(several, path.stem)
        if precision == "64-true":  # stored in float32, so that they agree but for the last bit
            for key, tensor in expected.items():
                torch.testing.assert_close(found[key], tensor, rtol=1e-6, atol=1e-9)
        else:  # one step in float32, whose rounding may turn a ReLU that stood at zero, which is seen in the gradient
            for key, tensor in expected.items():
                if "running" in key:
                    torch.testing.assert_close(found[key], tensor, rtol=1e-4, atol=1e-5)
            a, b = (torch.cat([t.double().flatten() for t in w.values()]) for w in (expected, found))
            assert (a - b).norm() < 3e-5 * a.norm()
    rows = [[json.loads(line) for line in (f / "metrics.jsonl").read_text().splitlines()] for f in (one, several)]
    for first, second in zip(*rows, strict=True):
        for key in first:
            if key.startswith("loss/"):
                exact = 1e-8 if "add" in name else 1e-12  # so many losses, of large weights, enlarge what is rounded
                rounding = {"rel": exact} if precision == "64-true" else {"rel": 1e-3, "abs": 1e-7}
                assert second[key] == pytest.approx(first[key], **rounding)


COMMAND = ["train", "plain", "--student", "resnet8", "--epochs", "8", "--devices", "2", "--accelerator", "cpu"]


def test_two_processes_stop_together_and_go_on(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "docendo",
        *COMMAND,
        "--set",
        "data.train_images=320",
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
    assert len(metrics.read_text().splitlines()) == 8


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

"""Processes that torchrun or SLURM has started make one run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from torch.utils.data import DataLoader

import docendo
from docendo.engine import processes
from docendo.engine.processes import SlurmStep, launch, make_fabric
from docendo.engine.progress import Silent
from docendo.engine.settings import TrainSettings
from docendo.errors import DocendoError
from tests.conftest import same, weights

STEP = {  # what srun -n 2 sets, of what is read
    "SLURM_JOB_ID": "1",
    "SLURM_JOB_NAME": "docendo",
    "SLURM_NODEID": "0",
    "SLURM_NODELIST": "localhost",
    "SLURM_NTASKS": "2",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NODELIST": "localhost",
    "SLURM_STEP_NUM_TASKS": "2",
    "SLURM_STEP_TASKS_PER_NODE": "2",
}
TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}
COMMAND = [sys.executable, "-m", "docendo", "train", "plain", "--student", "resnet8", "--epochs", "1"]
COMMAND += ["--accelerator", "cpu", "--set", "data.train_images=200"]


def in_step(out: Path, place: int) -> subprocess.Popen[str]:
    """Start one of two tasks as srun would."""
    port = str(20000 + os.getpid() % 10000)
    environment = {**os.environ, **STEP, "SLURM_PROCID": str(place), "SLURM_LOCALID": str(place), "MASTER_PORT": port}
    return subprocess.Popen(
        [*COMMAND, "--out", str(out)],
        env={**environment, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_tasks_of_srun_are_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = [in_step(tmp_path / "slurm", place) for place in (0, 1)]
    errors = [task.communicate()[1] for task in tasks]
    assert [task.returncode for task in tasks] == [0, 0], errors
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    sets = {"data.train_images": 200, "accelerator": "cpu", "devices": 2}
    docendo.train("plain", student="resnet8", epochs=1, out=tmp_path / "spawned", set=sets, progress=Silent())
    assert same(weights(tmp_path / "slurm", "student"), weights(tmp_path / "spawned", "student"))


NOTEBOOK = """
import sys
sys.ps1 = ">>> "  # as in every interactive Python
import docendo
from docendo.engine.progress import Silent
from docendo.methods import KD
class Typed(KD): pass  # no file has it
run = docendo.train(Typed(), teacher="resnet8", student="resnet8", epochs=1, devices=2, accelerator="cpu",
                    out=sys.argv[1], set={"data.train_images": 64}, progress=Silent())
print(run.folder)
"""


def test_a_notebook_forks_its_processes(tmp_path: Path) -> None:
    command = [sys.executable, "-c", NOTEBOOK, str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(tmp_path / "run")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({}, None),
        ({"SLURM_JOB_ID": "1", "SLURM_NTASKS": "2", "SLURM_PROCID": "0"}, None),  # a batch script, without srun
        ({**STEP, "SLURM_STEP_NUM_TASKS": "1", "SLURM_STEP_TASKS_PER_NODE": "1"}, None),
        (STEP, ("srun", 2, 2)),
        ({**STEP, "SLURM_STEP_NUM_TASKS": "6", "SLURM_STEP_TASKS_PER_NODE": "2(x3)"}, ("srun", 6, 2)),
        (TORCHRUN, ("torchrun", 4, 2)),
        ({**TORCHRUN, **STEP}, ("torchrun", 4, 2)),  # srun starts one torchrun on each machine
    ],
)
def test_who_started_the_processes(found: dict[str, str], expected: tuple[str, int, int] | None) -> None:
    launcher = processes._launcher(found)
    assert (launcher and launcher[:3]) == expected


def test_numbers_that_disagree_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in STEP.items():
        monkeypatch.setenv(name, value)
    message = (
        r"^devices=3, but srun started 2 processes on 1 machines: leave devices and nodes out, or start as many by srun"
    )
    with pytest.raises(DocendoError, match=message):
        make_fabric(TrainSettings(devices=3, accelerator="cpu"))
    with pytest.raises(DocendoError, match=r"^nodes=2, but srun started 2 processes on 1 machines"):
        make_fabric(TrainSettings(nodes=2, accelerator="cpu"))
    monkeypatch.setenv("SLURM_STEP_TASKS_PER_NODE", "2,1")
    with pytest.raises(DocendoError, match=r"^SLURM spread 2 tasks over its machines as 2,1, but each must have as"):
        make_fabric(TrainSettings(accelerator="cpu"))


def test_several_machines_need_a_launcher() -> None:
    with pytest.raises(DocendoError, match=r"^nodes=2, but nothing started a process on each machine: use torchrun or"):
        make_fabric(TrainSettings(nodes=2, accelerator="cpu"))


def test_the_first_machine_of_the_step_is_where_processes_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    monkeypatch.setenv("SLURM_STEP_NODELIST", "gpu[07-09]")
    assert SlurmStep().main_address == "gpu07"


def test_a_run_that_fails_leaves_nothing_wrapped() -> None:
    """Fabric wraps DataLoader while it launches; a wrapper left by each failure would end in too deep a recursion."""

    def fail(fabric: Fabric) -> None:
        raise DocendoError("as ever")

    before = {name: getattr(DataLoader, name) for name in ("__init__", "__setattr__", "__delattr__")}
    with pytest.raises(DocendoError, match="as ever"):
        launch(make_fabric(TrainSettings(epochs=1)), fail)
    assert {name: getattr(DataLoader, name) for name in before} == before


def test_what_a_cpu_or_the_processes_cannot_do_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    for accelerator in ("auto", "cpu"):
        with pytest.raises(DocendoError, match=r"^precision 16-mixed needs a GPU: choose bf16-mixed or 32-true"):
            make_fabric(TrainSettings(accelerator=accelerator, precision="16-mixed"))
    with pytest.raises(
        DocendoError, match=r"^a batch of 2 images leaves none for some of 3 processes: give a batch si"
    ):
        make_fabric(TrainSettings(accelerator="cpu", devices=3, batch_size=2))

"""One complete run: from names to trained networks, their files and honest results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

import docendo.data
from docendo.core import Method
from docendo.engine.allocator import keep_freed_memory
from docendo.engine.processes import launch, make_fabric
from docendo.files import read_results
from docendo.networks import StagedNetwork, load
from docendo.recipes.folder import default_folder
from docendo.recipes.logs import check_log
from docendo.recipes.settings import Request, flags_of
from docendo.recipes.work import Shown, prepare


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        networks: the deployable networks by role, in evaluation mode, float32.
        results: what `results.json` holds.
        folder: the run folder.
    """

    networks: Mapping[str, StagedNetwork]
    results: Mapping[str, Any]
    folder: Path

    @property
    def network(self) -> StagedNetwork:
        """The network to deploy."""
        return self.networks[self.results["deployed"]]


def train(
    method: str | Method,
    *,
    teacher: str | Path | None = None,
    student: str | Path | None = None,
    expert: str | Path | None = None,
    scratch: str | Path | None = None,
    peer: str | Path | None = None,
    pretrained: bool | None = None,
    recipe: str | None = None,
    data: str | Path | None = None,
    root: str | Path | None = None,
    download: bool | None = None,
    skip_corrupt: bool | None = None,
    image_size: int | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    seed: int | None = None,
    out: str | Path | None = None,
    config: str | Path | None = None,
    set: Mapping[str, Any] | None = None,
    resume: bool = False,
    accelerator: str | None = None,
    devices: int | None = None,
    nodes: int | None = None,
    strategy: str | None = None,
    precision: str | None = None,
    teacher_memory: str | None = None,
    log: str | None = None,
    progress: Shown = None,
    test: bool = True,
) -> Run:
    """Train networks that teach each other, and keep the one to deploy.

    Args:
        method: a method's name ("plain", "kd", "sftn"), or a method object such as `SFTN(branch_kl=2)`.
        teacher: network name or weights file; without weights it is trained first.
        student: network name or weights file to start from.
        expert: in methods with two teachers, the one that is trained beforehand; default: as the teacher.
        scratch: in such methods, the one that learns beside the student; default: as the teacher.
        peer: in mutual learning, what learns beside the student; default: as the teacher.
        pretrained: start networks of timm and torchvision from their published weights.
        recipe: a published protocol to start from ("crd"), which config, set and the arguments here go over.
        data: "digits", "cifar10", "cifar100", or the path of a folder of class folders or of Parquet files.
        root: where the files of named data sets are.
        download: fetch a named data set if it is not there.
        skip_corrupt: leave out images that cannot be read, and list them.
        image_size: side in pixels that images are brought to.
        epochs: epochs of a full phase, at least 1.
        batch_size: images a step, at least 2.
        lr: learning rate, above 0.
        seed: seed of first weights, order and views.
        out: the run folder; by default named after the run, under "runs".
        config: a YAML file with settings, such as another run's config.yaml.
        set: further settings by dotted key: the method's own or the run's ("optimizer.momentum").
        resume: go on with a run that was stopped; a finished one is only read.
        accelerator: "cpu", "cuda", "mps" or "auto".
        devices: how many, on each machine; with more than one a script needs `if __name__ == "__main__":`, as
            processes are spawned.
        nodes: how many machines; start them by torchrun or SLURM.
        strategy: Lightning Fabric's strategy.
        precision: "32-true", "64-true", "16-mixed", "bf16-mixed" or "bf16-true".
        teacher_memory: disk for frozen networks' logits, which all runs share: "auto", "off" or a size such as "20GB".
        log: where losses and accuracies go besides the run folder: "tensorboard", "wandb", "mlflow" or "trackio".
        progress: shows progress, or gives in the process that trains what does, for a `with`; else plain lines.
        test: look at the test images at the end; not so while settings are still being chosen.

    Returns:
        The networks, the results and the folder.

    Raises:
        DocendoError: anything the user can put right, in one line.
        Interrupted: Ctrl-C or SIGTERM, after saving; says how to go on.
    """
    flags = flags_of(
        {
            "teacher": teacher,
            "student": student,
            "expert": expert,
            "scratch": scratch,
            "peer": peer,
            "pretrained": pretrained,
            "recipe": recipe,
            "data": data,
            "root": root,
            "download": download,
            "skip_corrupt": skip_corrupt,
            "image_size": image_size,
            "epochs": epochs,
            "batch_size": batch_size,
            "lr": lr,
            "seed": seed,
            "accelerator": accelerator,
            "devices": devices,
            "nodes": nodes,
            "strategy": strategy,
            "precision": precision,
            "teacher_memory": teacher_memory,
        }
    )
    if log is not None:
        check_log(log)
    request = Request(method, flags, set, config)
    fabric = make_fabric(request.machine)
    return read_run(Path(launch(fabric, _run, request, out, resume, progress, log, test)))


def read_run(folder: Path) -> Run:
    """Give a finished run from its folder."""
    results = read_results(folder)
    with torch.random.fork_rng(devices=[]):  # a network is made with random weights before it is filled
        networks = {role: load(folder / about["weights"]).eval() for role, about in results["networks"].items()}
    return Run(networks, results, folder)


def _run(
    fabric: Fabric,
    request: Request,
    out: str | Path | None,
    resume: bool,
    progress: Shown,
    log_to: str | None = None,
    test: bool = True,
) -> str:
    """Do the work of one process of a run. Gives the run folder."""
    keep_freed_memory()
    with fabric.rank_zero_first():  # one process downloads, if anything is
        images = docendo.data.load(request.data)
    folder_of = default_folder if out is None else lambda settings: Path(out)
    return str(prepare(fabric, request, images, folder_of, resume=resume, test=test).do(progress, log_to))

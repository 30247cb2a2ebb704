"""One complete run: from names to trained networks, their files and honest results."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

import torch
from lightning_fabric import Fabric
from torch import nn

import docendo.data
from docendo.core import Method, Phase
from docendo.data import DataSet, Expectation, Split
from docendo.data.seeds import seed_for
from docendo.engine import Trainer
from docendo.engine.allocator import keep_freed_memory
from docendo.engine.networks import adaptation_of, lay_out
from docendo.engine.processes import first_checks, launch, make_fabric
from docendo.engine.progress import Both, Lines, Progress, Silent
from docendo.engine.rehearse import rehearsal
from docendo.engine.sharding import Sharded
from docendo.errors import DocendoError
from docendo.files import write_atomically
from docendo.metrics import Accuracy, ensemble, evaluate, peak_memory
from docendo.networks import StagedNetwork, load, macs, parameters, save
from docendo.recipes.build import Builder, default_networks
from docendo.recipes.folder import RunFolder, check_folder, command_of, default_folder
from docendo.recipes.following import recipe_notes
from docendo.recipes.logs import check_log, logging_to
from docendo.recipes.settings import Request, RunSettings, flags_of


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
    progress: Progress | Callable[[], AbstractContextManager[Progress]] | None = None,
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
    results = json.loads((folder / "results.json").read_text())
    with torch.random.fork_rng(devices=[]):  # a network is made with random weights before it is filled
        networks = {role: load(folder / about["weights"]).eval() for role, about in results["networks"].items()}
    return Run(networks, results, folder)


def _run(
    fabric: Fabric,
    request: Request,
    out: str | Path | None,
    resume: bool,
    progress: Any,
    log_to: str | None = None,
    test: bool = True,
) -> str:
    """Do the work of one process of a run; the first one talks and writes. Gives the run folder."""
    keep_freed_memory()
    first = fabric.is_global_zero
    with fabric.rank_zero_first():  # one process downloads, if anything is
        images = docendo.data.load(request.data)
    settings = request.resolve(image_size=images.image_size, networks=default_networks(images))
    if settings.best_on_test and not test:
        raise DocendoError("best_on_test looks at the test images, which a search of settings must not: leave it out")
    path = Path(out) if out is not None else default_folder(settings)
    first_checks(fabric, lambda: check_folder(path, settings, resume=resume))
    with seeded(settings):  # before the folder is claimed, so that a mistake found here leaves nothing behind
        request.method.run(_rehearsal(images), Builder(settings, images))
    with contextlib.ExitStack() as stack:
        shown: Progress = Silent()
        if first:
            stack.enter_context(contextlib.closing(RunFolder(path, settings, resume=resume)))
            log = stack.enter_context((path / "log.txt").open("a", encoding="utf-8"))
            if callable(progress):
                progress = stack.enter_context(progress())
            teller = progress or Lines(sys.stdout)
            shown = Both(teller, Lines(log))
            if log_to is not None:
                shown = Both(shown, stack.enter_context(logging_to(log_to, path, settings.model_dump(mode="json"))))
            stack.push(lambda kind, error, trace: _write_down(log, error))
        fabric.barrier()
        if (path / "results.json").exists():
            shown.say(f"already finished: {path}")
        else:
            _train(fabric, request.method, settings, images, path, shown, test)
    return str(path)


def _write_down(log: TextIO, error: BaseException | None) -> None:
    if isinstance(error, DocendoError | KeyboardInterrupt):
        Lines(log).say(str(error) or "stopped")


def _train(
    fabric: Fabric, method: Any, settings: RunSettings, images: DataSet, folder: Path, progress: Progress, test: bool
) -> None:
    command = command_of(settings, method, folder)
    for note in (*recipe_notes(settings), *images.notes, *getattr(method, "notes", ())):
        progress.say(note)
    images = images.to(fabric.device)
    trainer = Trainer(fabric, images, settings, settings.seed, folder, progress, f"{command} --resume")
    with seeded(settings):
        networks = method.run(trainer, Builder(settings, images, progress.say))
    if fabric.is_global_zero or trainer.sharding:
        measured = {role: _measure(net.float(), role, images, trainer, test) for role, net in networks.items()}
    if fabric.is_global_zero:
        for role, network in networks.items():
            expected = _expected(network, images)
            save(
                network,
                folder / f"{role}.safetensors",
                class_names=images.classes,
                mean=expected.mean,
                std=expected.std,
                role=role,
                method=settings.method,
                crop_ratio=images.crop_ratio,
                data=data_settings_of(settings),
            )
        ensembles = {
            name: _measure_together([networks[role] for role in roles], roles, images, test)
            for name, roles in getattr(method, "ensembles", {}).items()
        }
        last = trainer.positions[-1]
        results = {
            "method": settings.method,
            "data": images.name,
            "images": {
                "train": len(images.train),
                "val": len(images.val) if images.val is not None else 0,
                "test": len(images.test),
            },
            "seed": settings.seed,
            "epochs": settings.epochs,
            "seconds": round(sum(p.seconds for p in trainer.positions), 3),
            "images_per_second": round(len(last.rows) * len(images.train) / max(last.seconds, 1e-9), 1),
            "peak_memory_bytes": peak_memory(fabric.device),
            "command": command,
            "deployed": next(iter(networks)),
            "networks": measured,
            **({"ensembles": ensembles} if ensembles else {}),
        }
        text = json.dumps(results, indent=2, ensure_ascii=False) + "\n"
        write_atomically(folder / "results.json", text.encode())
    fabric.barrier()


def _measure(network: Any, role: str, images: DataSet, trainer: Trainer, look: bool) -> dict[str, Any]:
    classes, expected = len(images.classes), _expected(network, images)
    network.spec = replace(network.spec, image_size=expected.image_size)
    asked = network.eval()
    if trainer.sharding:
        asked = Sharded(network, trainer.fabric.device)
    else:
        lay_out(network.to(trainer.fabric.device), torch.channels_last)
    test = evaluate(asked, images.test.seen_by(expected), classes) if look else None
    val = evaluate(asked, images.val.seen_by(expected), classes) if images.val is not None else None
    best = next((p.best[role] for p in reversed(trainer.positions) if role in p.best), None)
    return {
        "test_top1": test.top1 if test else None,
        "test_top5": test.top5 if test else None,
        "val_top1": val.top1 if val else None,
        "best_val_top1": best[1] if best else None,
        "best_val_epoch": int(best[0]) if best else None,
        **_best_on_test(role, trainer),
        "parameters": parameters(network),
        "macs": macs(network),
        "weights": f"{role}.safetensors",
    }


def _best_on_test(role: str, trainer: Trainer) -> dict[str, float]:
    """Give the accuracy of the best test epoch of the last phase that measured it, where that was asked for."""
    column = f"test_top1/{role}"
    measured = [[row[column] for row in position.rows if column in row] for position in reversed(trainer.positions)]
    return next(({"best_test_top1": max(tops)} for tops in measured if tops), {})


def _measure_together(networks: Sequence[Any], roles: Sequence[str], images: DataSet, look: bool) -> dict[str, Any]:
    """Measure the mean of softmax outputs of networks that are in their place already."""

    def of(split: Split) -> Accuracy:
        return ensemble([(network, split.seen_by(_expected(network, images))) for network in networks], classes)

    classes = len(images.classes)
    test = of(images.test) if look else None
    return {
        "networks": list(roles),
        "test_top1": test.top1 if test else None,
        "test_top5": test.top5 if test else None,
        "val_top1": of(images.val).top1 if images.val is not None else None,
    }


def _expected(network: Any, images: DataSet) -> Expectation:
    """Give what images a network was trained on: those of this run, or what came with its weights."""
    adaptation = adaptation_of(network)
    return images.expectation if adaptation is None else adaptation.theirs


def data_settings_of(settings: RunSettings) -> dict[str, Any]:
    """Give what evaluation needs to find the same test images again, without any path."""
    views = {"smallest_crop", "randaugment", "cutout", "pool", "mixup", "cutmix"}
    others = {"name", "root", "download", "memory", "workers", "mean", "std", *views}
    return settings.data.model_dump(mode="json", exclude=others)


def _rehearsal(images: DataSet) -> Any:
    plan = rehearsal(images.train)

    def rehearsing(phase: Phase) -> Mapping[str, nn.Module]:
        plan(phase)
        return phase.learners

    return rehearsing


@contextmanager
def seeded(settings: RunSettings) -> Iterator[None]:
    """Seed what a method makes besides the networks of its roles, and leave the caller's random state as it was."""
    strict = torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng():
        torch.manual_seed(seed_for(settings.seed, "parts"))
        torch.use_deterministic_algorithms(settings.deterministic or strict)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(strict)

"""From trained networks to their files and honest results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from docendo.data import DataSet, Expectation, Split
from docendo.engine.networks import adaptation_of, lay_out
from docendo.engine.sharding import Sharded
from docendo.engine.train import Trainer
from docendo.metrics import Accuracy, ensemble, evaluate, peak_memory
from docendo.networks import macs, parameters, save
from docendo.recipes.settings import RunSettings


def results_of(
    networks: Mapping[str, Any],
    method: Any,
    settings: RunSettings,
    trainer: Trainer,
    folder: Path,
    command: str,
    *,
    test: bool,
) -> dict[str, Any]:
    """Measure the networks of a run, write their files, and give what `results.json` holds.

    Every process calls this where frozen networks are shared out, else the first one alone.

    Args:
        networks: the deployable networks by role, the one to deploy first.
        method: what trained them.
        settings: the run's.
        trainer: the trainer, done.
        folder: of the run.
        command: the command line that makes this run.
        test: whether to look at the test images.
    """
    images = trainer.data
    measured = {role: _measure(net.float(), role, images, trainer, test) for role, net in networks.items()}
    if not trainer.fabric.is_global_zero:
        return {}
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
            data=_data_settings(settings),
        )
    ensembles = {
        name: _measure_together([networks[role] for role in roles], roles, images, test)
        for name, roles in getattr(method, "ensembles", {}).items()
    }
    last = trainer.positions[-1]
    return {
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
        "peak_memory_bytes": peak_memory(trainer.fabric.device),
        "command": command,
        "deployed": next(iter(networks)),
        "networks": measured,
        **({"ensembles": ensembles} if ensembles else {}),
    }


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


def _data_settings(settings: RunSettings) -> dict[str, Any]:
    """Give what evaluation needs to find the same test images again, without any path."""
    views = {"smallest_crop", "randaugment", "cutout", "pool", "mixup", "cutmix"}
    others = {"name", "root", "download", "memory", "workers", "mean", "std", *views}
    return settings.data.model_dump(mode="json", exclude=others)

"""Small finished runs that the tests of reports share, and runs made up of what their files would hold."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

import docendo
from docendo.engine.progress import Silent
from docendo.reports.finished import Finished

SMALL: Mapping[str, Any] = {"data.train_images": 200, "checkpoint_seconds": 0}


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of plain training and kd, two seeds each, measured, as its runner leaves it."""
    folder = tmp_path_factory.mktemp("study")

    def train(method: str, out: str, **more: Any) -> None:
        named = {"set": SMALL, "epochs": 2, "progress": Silent(), **more}
        docendo.train(method, out=folder / out, **named)

    train("plain", "teachers/plain-seed0", teacher="resnet8", set={**SMALL, "role": "teacher"})
    seeds: dict[str, dict[str, str]] = {"plain": {}, "kd": {}}
    for seed in (0, 1):
        for method in seeds:
            out = f"runs/{method}-seed{seed}"
            teacher = {"teacher": folder / "teachers/plain-seed0/teacher.safetensors"} if method == "kd" else {}
            train(method, out, seed=seed, **teacher)
            docendo.measure(folder / out)
            seeds[method][str(seed)] = out
    failed = {"plain": {}, "kd": {"2": "the loss is not finite"}, "at": {"0": "no stages to compare"}}
    cells = [
        {
            "label": method,
            "method": method,
            "settings": {},
            "networks": {},
            "data": {"name": "digits"},
            "baseline": None if method == "plain" else "plain",
            "test_images": 359,
            "seeds": seeds.get(method, {}),
            "failed": why,
        }
        for method, why in failed.items()
    ]
    index = {
        "baseline": "plain",
        "cells": cells,
        "command": "docendo compare plain kd --seeds 0,1,2",
        "teachers": ["teachers/plain-seed0"],
    }
    (folder / "index.json").write_text(json.dumps(index))
    return folder


Made = Callable[..., Finished]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """Make the folder of a finished run: `made("kd-0", 0.3323, method="kd")`."""

    def make(
        name: str,
        top1: float,
        *,
        method: str | None = None,
        networks: Mapping[str, str] | None = None,
        others: Mapping[str, float] | None = None,
        rows: Sequence[Mapping[str, Any]] = (),
        measures: Mapping[str, Any] | None = None,
        **results: Any,
    ) -> Finished:
        from docendo.reports.finished import read_finished

        label, _, seed = name.rpartition("-")
        folder = tmp_path / name
        folder.mkdir(parents=True)
        networks = {"student": "resnet8"} if networks is None else networks
        about = {
            role: {
                "test_top1": value,
                "test_top5": 1.0,
                "val_top1": value,
                "best_val_top1": value,
                "best_val_epoch": 1,
                "parameters": 1000 if role == "student" else 2000,
                "macs": 2_000_000 if role == "student" else 5_000_000,
                "weights": f"{role}.safetensors",
            }
            for role, value in {next(iter(networks)): top1, **(others or {})}.items()
        }
        found = {
            "method": method or label,
            "data": "cifar100",
            "seed": int(seed.removeprefix("seed")),
            "epochs": 3,
            "seconds": 10.0,
            "command": f"docendo train {method or label}",
            "deployed": next(iter(networks)),
            "networks": about,
            **results,
        }
        (folder / "results.json").write_text(json.dumps(found))
        (folder / "config.yaml").write_text(yaml.safe_dump({"networks": dict(networks), "settings": {}}))
        (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        if measures is not None:
            (folder / "measures.json").write_text(json.dumps(measures))
        return read_finished(folder)

    return make

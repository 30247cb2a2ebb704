"""How the cost of kd grows: with images, epochs, classes, depth, and seeds. One thread; ratios within one run.

    python benchmarks/growth.py [--images 500]

Of methods benchmarks/methods.py tells, of losses benchmarks/losses.py.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

import torch
from alone import alone
from pictures import write_set

import docendo
from docendo.engine.progress import Silent
from docendo.networks import create, save

MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
TEACHER, STUDENT = "resnet20", "resnet8"


def taught(root: Path, name: str, data: Path, classes: int, epochs: int, seed: int, memory: str) -> float:
    """Give the seconds of training of one run."""
    torch.set_num_threads(1)
    os.environ["XDG_CACHE_HOME"] = str(root / "cache")
    run = docendo.train(
        "kd",
        teacher=weights(root, TEACHER, classes),
        student=STUDENT,
        data=data,
        epochs=epochs,
        seed=seed,
        teacher_memory=memory,
        set={"data.validation": 0},
        out=root / name,
        progress=Silent(),
    )
    return float(run.results["seconds"])


def step(root: Path, data: Path, classes: int, student: str) -> float:
    """Give the milliseconds of a step with a live teacher."""
    torch.set_num_threads(1)
    teacher = weights(root, TEACHER, classes)
    measured = docendo.bench(
        "kd", steps=5, rounds=3, teacher=teacher, student=student, data=data, teacher_memory="off",
        set={"data.validation": 0},
    )  # fmt: skip
    return measured.phases[0].milliseconds


def weights(root: Path, name: str, classes: int) -> Path:
    """Give the file of an untrained teacher."""
    path = root / f"{name}-{classes}.safetensors"
    if not path.exists():
        torch.manual_seed(0)
        save(create(name, classes=classes), path, class_names=None, mean=MEAN, std=STD, role="teacher")
    return path


def show(what: str, unit: str, found: dict[Any, float]) -> None:
    """Print what was measured, and by how much more than the first."""
    first = next(iter(found.values()))
    cells = (f"{key}: {value:.3g} {unit} (x{value / first:.2f})" for key, value in found.items())
    print(f"{what:10} " + "   ".join(cells), flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="how the cost of kd grows")
    parser.add_argument("--images", type=int, default=500)
    n = parser.parse_args().images
    print(f"kd, {TEACHER} to {STUDENT}, 32 pixels, batch 64, one thread, {n} images unless said, live teacher")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        sets = {(images, 10): write_set(root / f"{images}", images, 10) for images in (n, 2 * n, 4 * n)}
        sets |= {(1000, k): write_set(root / f"of{k}", 1000, k) for k in (10, 100, 1000)}
        timed = {
            images: alone(taught, root, f"i{images}", sets[images, 10], 10, 2, 0, "off") for images in (n, 2 * n, 4 * n)
        }
        show("images", "s", timed)
        show("epochs", "s", {e: alone(taught, root, f"e{e}", sets[n, 10], 10, e, 0, "off") for e in (2, 4, 8)})
        show("classes", "ms a step", {k: alone(step, root, sets[1000, k], k, STUDENT) for k in (10, 100, 1000)})
        depths = ("resnet8", "resnet14", "resnet20", "resnet32")
        show("depth", "ms a step", {name: alone(step, root, sets[1000, 10], 10, name) for name in depths})
        memory = {
            "seed 0": (0, "auto"), "seed 1": (1, "auto"), "seed 0 again": (0, "auto"), "seed 0, no memory": (0, "off"),
        }  # fmt: skip
        show("seeds", "s", {k: alone(taught, root, k, sets[n, 10], 10, 8, *v) for k, v in memory.items()})


if __name__ == "__main__":
    main()

"""What each method costs beside plain training of the same student: time and peak memory, as ratios in one run.

    python benchmarks/methods.py --data FOLDER [--teacher resnet20 --student resnet8 --images 2000 --methods kd at]

Every run has a process of its own, with one thread; rounds alternate over the methods, and medians are shown. Methods
that take a trained teacher (or expert) get a file, made before the clock starts, and it answers live.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

import torch
from alone import alone

import docendo
from docendo.engine.progress import Silent
from docendo.methods import METHODS, make

EPOCHS = 2


def measure(method: str, data: str, images: int, size: int, networks: dict[str, str], out: str) -> tuple[float, int]:
    """Give the seconds of training, all phases, and the peak memory in bytes of one run."""
    torch.set_num_threads(1)
    sets = {"data.train_images": images, "data.validation": 0, "teacher_memory": "off"}
    run = docendo.train(
        method, data=data, image_size=size, epochs=EPOCHS, out=out, set=sets, progress=Silent(), **networks
    )
    return run.results["seconds"], run.results["peak_memory_bytes"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="time and peak memory of each method beside plain training")
    parser.add_argument("--data", required=True)
    parser.add_argument("--teacher", default="resnet20")
    parser.add_argument("--student", default="resnet8")
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--methods", nargs="*", default=list(METHODS), choices=list(METHODS))
    arguments = parser.parse_args()
    images = arguments.data, arguments.images, arguments.image_size
    methods = list(dict.fromkeys(["plain", *arguments.methods]))
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    memory: dict[str, list[int]] = {name: [] for name in methods}
    with tempfile.TemporaryDirectory() as folder:
        alone(measure, "plain", *images, {"student": arguments.teacher}, f"{folder}/teacher")
        weights = f"{folder}/teacher/student.safetensors"
        of_role = {"student": arguments.student, "teacher": weights, "expert": weights}
        for i in range(arguments.rounds):
            for name in methods:
                networks = {role: of_role.get(role, arguments.teacher) for role in make(name).roles}
                if name == "sftn":
                    networks["teacher"] = arguments.teacher  # which it has to train itself
                took, peak = alone(measure, name, *images, networks, f"{folder}/{name}{i}")
                seconds[name].append(took)
                memory[name].append(peak)
    print(
        f"{Path(arguments.teacher).name} to {arguments.student}, {arguments.images} images of "
        f"{arguments.image_size} pixels, {EPOCHS} epochs a phase, median of {arguments.rounds} rounds"
    )
    print("method                    time of plain's  peak memory, MB")
    base = statistics.median(seconds["plain"])
    for name in methods:
        ratio, peak = statistics.median(seconds[name]) / base, statistics.median(memory[name]) / 1e6
        print(f"{name:24}  {ratio:15.2f}  {peak:15.0f}")


if __name__ == "__main__":
    main()

"""What several seeds cost side by side, as ratios to one alone, measured in one run.

    python benchmarks/seeds.py [--seeds 5] [--networks wrn_40_2:wrn_16_2] [--images 640] [--rounds 3] [--cuda-graphs]

kd and at from a teacher that is there already and answers at every step; whole calls, start included, of one epoch of
random 32-pixel pictures without validation. Rounds alternate; medians of the ratios round by round.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import torch
from alone import alone
from growth import weights
from pictures import write_set

import docendo
from docendo.engine.progress import Silent


def seconds(root: Path, method: str, teacher: Path, student: str, seeds: int, graphs: bool) -> float:
    """Give the seconds that so many seeds take."""
    out = root / "out"
    shutil.rmtree(out, ignore_errors=True)
    began = time.perf_counter()
    docendo.train_seeds(
        method, range(seeds), teacher=teacher, student=student, data=root, epochs=1,
        teacher_memory="off", set={"data.validation": 0, "cuda_graphs": graphs}, out=out, progress=Silent(), test=False,
    )  # fmt: skip
    return time.perf_counter() - began


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="what several seeds cost side by side")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--networks", default="wrn_40_2:wrn_16_2", help="TEACHER:STUDENT")
    parser.add_argument("--images", type=int, default=640)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cuda-graphs", action="store_true", help="record steps, on a GPU")
    asked = parser.parse_args()
    teacher, student = asked.networks.split(":")
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{torch.get_num_threads()} threads"
    print(f"{teacher} to {student}, batch 64, {asked.images} images, {device}")
    with tempfile.TemporaryDirectory() as folder:
        root = write_set(Path(folder), asked.images, 100)
        file = weights(root, teacher, 100)
        for method in ("kd", "at"):
            ratios = []
            for _ in range(asked.rounds):
                one, several = (
                    alone(seconds, root, method, file, student, n, asked.cuda_graphs) for n in (1, asked.seeds)
                )
                ratios.append(several / one)
                print(f"{method}: 1 seed {one:.1f} s, {asked.seeds} seeds {several:.1f} s", flush=True)
            print(
                f"{method}: {asked.seeds} seeds take {statistics.median(ratios):.2f} times as long as one", flush=True
            )


if __name__ == "__main__":
    main()

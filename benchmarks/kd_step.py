"""KD on a CIFAR-100-shaped pair: docendo beside a textbook loop and torchdistill, as ratios measured in one run.

    python benchmarks/kd_step.py [--teacher wrn_40_2 --student wrn_16_2 --images 1280 --rounds 3] [--without warm]
        [--precision bf16-mixed] [--compile frozen] [--device cuda --cuda-graphs]

All train the same student from the same teacher on the same 32x32 images, batch 64, pad 4 + crop + flip, SGD, on one
device, in one precision but for `half`.

- textbook: PIL images, torchvision transforms, a DataLoader with 2 workers, NCHW, teacher in eval mode under no_grad.
- torchdistill, from the package index: its DistillationBox and KDLoss over the same DataLoader.
- docendo, live: the teacher answers at every step (`--teacher-memory off`).
- docendo, half: so does a teacher in bfloat16 (`--set frozen_precision=bf16-mixed`), in a run of float32.
- docendo, warm: the teacher memory knows the answers.
- bare step: the student alone, from labels, on one batch at hand; what `docendo bench` measures besides.

Of all the start is left out. docendo runs in processes of its own, so that what it sets does not serve the others.
Rounds alternate, and medians of the ratios round by round are reported, so that a machine whose speed drifts treats all
alike.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from alone import alone
from pictures import random_pictures, write_set
from PIL import Image
from torch.utils.data import DataLoader, Dataset, RandomSampler
from torchvision import transforms

import docendo
from docendo.networks import create, load, save

BATCH, CLASSES = 64, 100
MEAN, STD = (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)


def now(device: torch.device) -> float:
    """Give the time when the device has done all it was given."""
    if device.type != "cpu":
        torch.accelerator.synchronize()
    return time.perf_counter()


class Task(NamedTuple):
    """What others than docendo are asked to do: train a student on pixels and labels, on a device, in a precision."""

    pixels: np.ndarray
    labels: np.ndarray
    teacher: Path
    student: str
    mixed: torch.autocast
    device: torch.device


class Pictures(Dataset[tuple[torch.Tensor, int]]):
    """PIL images with textbook transforms."""

    def __init__(self, pixels: np.ndarray, labels: np.ndarray) -> None:
        self.images, self.labels = [Image.fromarray(p) for p in pixels], labels.tolist()
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(32, padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
            ]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        return self.transform(self.images[i]), self.labels[i]


def textbook(task: Task) -> float:
    """Give the images/s of one epoch, the first two batches left out."""
    teacher, student = load(task.teacher).to(task.device), create(task.student, classes=CLASSES).to(task.device)
    loader = DataLoader(Pictures(task.pixels, task.labels), BATCH, shuffle=True, num_workers=2, drop_last=True)
    optimizer = torch.optim.SGD(student.parameters(), 0.05, momentum=0.9, weight_decay=5e-4)
    teacher.eval()
    student.train()
    for step, (images, labels) in enumerate(loader):
        if step == 2:
            began = now(task.device)
        images, labels = images.to(task.device), labels.to(task.device)
        with task.mixed:
            with torch.no_grad():
                target = teacher(images).logits
            logits = student(images).logits
            soft = F.kl_div(F.log_softmax(logits / 4, 1), F.softmax(target / 4, 1), reduction="batchmean") * 16
            loss = 0.1 * F.cross_entropy(logits, labels) + 0.9 * soft
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return (len(loader) - 2) * BATCH / (now(task.device) - began)


def peer(task: Task) -> float:
    """Give the images/s of one epoch of torchdistill, the first two batches left out."""
    logging.disable(logging.INFO)
    from torchdistill.core.distillation import get_distillation_box

    kd = {
        "student_module_path": ".",
        "student_module_io": "output",
        "teacher_module_path": ".",
        "teacher_module_io": "output",
        "temperature": 4.0,
        "alpha": 0.1,
        "reduction": "batchmean",
    }
    config = {
        "num_epochs": 1,
        "train_data_loader": {
            "dataset_id": "train",
            "sampler": {"class_or_func": RandomSampler},
            "kwargs": {"batch_size": BATCH, "num_workers": 2, "drop_last": True},
        },
        "teacher": {"forward_proc": "forward_batch_only", "requires_grad": False},
        "student": {"forward_proc": "forward_batch_only", "requires_grad": True},
        "optimizer": {"key": "SGD", "kwargs": {"lr": 0.05, "momentum": 0.9, "weight_decay": 5e-4}},
        "criterion": {
            "key": "WeightedSumLoss",
            "kwargs": {"sub_terms": {"kd": {"criterion": {"key": "KDLoss", "kwargs": kd}, "weight": 1.0}}},
        },
    }
    teacher, student = Logits(load(task.teacher)), Logits(create(task.student, classes=CLASSES))
    teacher.eval()
    data = {"train": Pictures(task.pixels, task.labels)}
    box = get_distillation_box(teacher, student, data, config, task.device, [], False, 1)
    box.pre_epoch_process(epoch=0)
    for step, (images, targets, more) in enumerate(box.train_data_loader):
        if step == 2:
            began = now(task.device)
        images, targets = images.to(task.device), targets.to(task.device)  # as its training scripts do
        with task.mixed:
            loss = box.forward_process(images, targets, more)
        box.post_forward_process(loss=loss)
    return (len(box.train_data_loader) - 2) * BATCH / (now(task.device) - began)


class Logits(torch.nn.Module):
    """A staged network that gives logits alone, as others expect."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Give the logits."""
        return self.network(images).logits


OURS: dict[str, dict[str, str]] = {
    "live": {"teacher_memory": "off"},
    "half": {"teacher_memory": "off", "frozen_precision": "bf16-mixed"},
    "warm": {},
}


def ours(root: Path, student_name: str, settings: dict[str, str | bool], steps: int) -> tuple[float, float]:
    """Give the images/s of docendo, and a step's time by the bare step's."""
    os.environ["XDG_CACHE_HOME"] = str(root / "cache")
    measured = docendo.bench(
        "kd",
        steps=steps,
        rounds=1,
        teacher=root / "teacher.safetensors",
        student=student_name,
        data=root / "data",
        batch_size=BATCH,
        set={"data.validation": 0, **settings},
    )
    (phase,) = measured.phases
    return phase.images_per_second, phase.ratio


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="images/s of KD: docendo beside a textbook loop and torchdistill")
    parser.add_argument("--teacher", default="wrn_40_2")
    parser.add_argument("--student", default="wrn_16_2")
    parser.add_argument("--images", type=int, default=1280)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--without", nargs="*", default=[], choices=["textbook", "torchdistill", "half", "warm"])
    parser.add_argument("--precision", default="32-true", choices=["32-true", "bf16-mixed"])
    parser.add_argument("--compile", default="off", choices=["off", "frozen", "all"], help="of docendo")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--cuda-graphs", action="store_true", help="of docendo")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    pixels, labels = random_pictures(arguments.images, CLASSES)
    teacher = create(arguments.teacher, classes=CLASSES)
    rounds: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_set(root / "data", arguments.images, CLASSES)
        save(teacher, root / "teacher.safetensors", class_names=None, mean=MEAN, std=STD, role="teacher")
        others = {"textbook": textbook, "torchdistill": peer}
        steps = arguments.images // BATCH
        of_all: dict[str, str | bool] = {
            "precision": arguments.precision,
            "compile": arguments.compile,
            "accelerator": arguments.device,
            "cuda_graphs": arguments.cuda_graphs,
        }
        left_out = {*arguments.without} | ({"half"} if arguments.precision != "32-true" else set())
        for number in range(arguments.rounds):
            found: dict[str, float] = {}
            for name, measure in others.items():
                if name not in left_out:
                    mixed = torch.autocast(device.type, torch.bfloat16, enabled=arguments.precision == "bf16-mixed")
                    weights = root / "teacher.safetensors"
                    found[name] = measure(Task(pixels, labels, weights, arguments.student, mixed, device))
            for name, settings in OURS.items():
                if name not in left_out:
                    measured = alone(ours, root, arguments.student, {**of_all, **settings}, steps)
                    found[name], found[f"{name} / bare"] = measured
            rounds.append(found)
            if not arguments.json:
                rates = ", ".join(f"{name} {rate:.0f}" for name, rate in found.items() if "bare" not in name)
                print(f"round {number + 1}: {rates} images/s", flush=True)
    ratios = {
        f"{ours} / {other}": statistics.median(found[ours] / found[other] for found in rounds)
        for ours in OURS
        for other in others
        if {ours, other} <= rounds[0].keys()
    }
    bare = {name: statistics.median(r[name] for r in rounds) for name in rounds[0] if "bare" in name}
    if arguments.json:
        rate = statistics.median(found["live"] for found in rounds)
        print(json.dumps({"images_per_second": rate, "ratios": ratios, "time_by_bare_step": bare, "rounds": rounds}))
        return
    networks = f"{arguments.teacher} to {arguments.student}"
    how = arguments.precision + (f", compile={arguments.compile}" if arguments.compile != "off" else "")
    how += ", CUDA graphs" if arguments.cuda_graphs else ""
    where = f"{torch.get_num_threads()} threads" if device.type == "cpu" else torch.cuda.get_device_name()
    print(f"{networks}, batch {BATCH}, {how}, {where}; medians:")
    for name, ratio in ratios.items():
        print(f"  images/s, docendo {name}: {ratio:.2f}")
    for name, ratio in bare.items():
        print(f"  time of a step, docendo {name} step: {ratio:.2f}")


if __name__ == "__main__":
    main()

"""KD on a CIFAR-100-shaped pair: docendo beside the loop that textbooks teach, as a ratio measured in one run.

    python benchmarks/kd_step.py [--teacher wrn_40_2 --student wrn_16_2 --images 960 --rounds 5]

Both train the same student from the same live teacher on the same 32x32 images, batch 64, pad 4 + crop + flip, SGD.
The textbook loop: PIL images, torchvision transforms, a DataLoader with 2 workers, NCHW float32, teacher in eval mode
under no_grad. Of both the start is left out (two batches; an epoch). docendo runs in processes of its own, so
that what it sets does not serve the textbook loop. Rounds alternate, and the median of the ratios round by round is
reported, so that a machine whose speed drifts treats both alike.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import torch.nn.functional as F
from alone import alone
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

import docendo
from docendo.engine.progress import Silent
from docendo.networks import create, load, save

BATCH, CLASSES = 64, 100
MEAN, STD = (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)


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


def textbook(pixels: np.ndarray, labels: np.ndarray, teacher_weights: Path, student_name: str) -> float:
    """Give the images/s of one epoch, the first two batches left out."""
    teacher, student = load(teacher_weights), create(student_name, classes=CLASSES)
    loader = DataLoader(Pictures(pixels, labels), BATCH, shuffle=True, num_workers=2, drop_last=True)
    optimizer = torch.optim.SGD(student.parameters(), 0.05, momentum=0.9, weight_decay=5e-4)
    teacher.eval()
    student.train()
    for step, (images, labels) in enumerate(loader):
        if step == 2:
            began = time.perf_counter()
        with torch.no_grad():
            target = teacher(images).logits
        logits = student(images).logits
        soft = F.kl_div(F.log_softmax(logits / 4, 1), F.softmax(target / 4, 1), reduction="batchmean") * 16
        loss = 0.1 * F.cross_entropy(logits, labels) + 0.9 * soft
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return (len(loader) - 2) * BATCH / (time.perf_counter() - began)


def ours(root: Path, student_name: str, number: int) -> float:
    """Give the images/s of the second of two epochs."""
    run = docendo.train(
        "kd",
        teacher=root / "teacher.safetensors",
        student=student_name,
        data=root / "data",
        epochs=2,
        batch_size=BATCH,
        out=root / f"run{number}",
        set={"data.validation": 0},
        teacher_memory="off",
        progress=Silent(),
    )
    last = (run.folder / "metrics.jsonl").read_text().splitlines()[-1]
    return float(json.loads(last)["images_per_second"])


def write_parquet(folder: Path, name: str, pixels: np.ndarray, labels: np.ndarray) -> None:
    """Write images in the Hugging Face layout."""
    encoded = []
    for p in pixels:
        buffer = io.BytesIO()
        Image.fromarray(p).save(buffer, "PNG")
        encoded.append({"bytes": buffer.getvalue(), "path": None})
    pq.write_table(pa.table({"img": encoded, "fine_label": labels}), folder / f"{name}.parquet")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="images/s of KD: docendo beside a textbook loop")
    parser.add_argument("--teacher", default="wrn_40_2")
    parser.add_argument("--student", default="wrn_16_2")
    parser.add_argument("--images", type=int, default=960)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")
    arguments = parser.parse_args()
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (arguments.images, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(arguments.images) % CLASSES
    teacher = create(arguments.teacher, classes=CLASSES)
    rates: dict[str, list[float]] = {"textbook": [], "docendo": []}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "data").mkdir()
        write_parquet(root / "data", "train", pixels, labels)
        write_parquet(root / "data", "test", pixels[:CLASSES], labels[:CLASSES])
        save(teacher, root / "teacher.safetensors", class_names=None, mean=MEAN, std=STD, role="teacher")
        for i in range(arguments.rounds):
            rates["textbook"].append(textbook(pixels, labels, root / "teacher.safetensors", arguments.student))
            rates["docendo"].append(alone(ours, root, arguments.student, i))
            if not arguments.json:
                print(
                    f"round {i + 1}: textbook {rates['textbook'][-1]:.0f}, docendo {rates['docendo'][-1]:.0f} images/s"
                )
    medians = {name: statistics.median(values) for name, values in rates.items()}
    pairs = zip(rates["docendo"], rates["textbook"], strict=True)
    ratio = statistics.median(fast / slow for fast, slow in pairs)
    if arguments.json:
        print(json.dumps({"images_per_second": medians["docendo"], "textbook": medians["textbook"], "ratio": ratio}))
    else:
        pair = f"{arguments.teacher} to {arguments.student}, batch {BATCH}, live teacher"
        print(f"{pair}, {torch.get_num_threads()} threads: {ratio:.2f} times the images/s of the textbook loop")


if __name__ == "__main__":
    main()

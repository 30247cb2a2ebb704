"""A training step on streamed photographs beside the same step on images in memory, as ratios measured in one run.

    python benchmarks/data_loading.py [--workers 2 --steps 10 --rounds 3 --device cpu]

The step: timm's resnet18 at 224 pixels, batch 32, SGD. The photographs: 500x375 JPEG made on the fly, as class folders,
tar files and Parquet files, decoded and cropped at random by worker processes; in memory: the same images decoded
beforehand and cropped on the device. Rounds take turns, so that a machine whose speed drifts treats all alike; medians
are reported. "Alone" is how fast images come when nobody does anything with them.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import timm
import torch
import torch.nn.functional as F
from PIL import Image

from docendo.core import Batch
from docendo.data import DataSet, DataSettings, load

BATCH, CLASSES, UNTIMED = 32, 10, 4


def photograph(random: np.random.Generator) -> bytes:
    """Make a JPEG of the size and weight of a usual photograph."""
    shapes = Image.fromarray(random.integers(0, 256, (12, 16, 3), dtype=np.uint8))
    smooth = np.asarray(shapes.resize((500, 375), Image.Resampling.BICUBIC)).astype(np.int16)
    grain = random.integers(-12, 13, smooth.shape, dtype=np.int16)
    buffer = io.BytesIO()
    Image.fromarray((smooth + grain).clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def write(root: Path, photographs: list[bytes]) -> None:
    """Write the photographs in each layout: all of them for training, a few for the test."""
    for part, count in (("train", len(photographs)), ("test", CLASSES)):
        for i, data in enumerate(photographs[:count]):
            folder = root / "folder" / part / f"class {i % CLASSES}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{i}.jpg").write_bytes(data)
        (root / "tar").mkdir(exist_ok=True)
        with tarfile.open(root / "tar" / f"{part}.tar", "w") as file:
            for i, data in enumerate(photographs[:count]):
                for name, content in ((f"{i}.jpg", data), (f"{i}.cls", str(i % CLASSES).encode())):
                    member = tarfile.TarInfo(name)
                    member.size = len(content)
                    file.addfile(member, io.BytesIO(content))
        (root / "parquet").mkdir(exist_ok=True)
        rows = [{"bytes": data, "path": f"{i}.jpg"} for i, data in enumerate(photographs[:count])]
        table = pa.table({"image": rows, "label": [i % CLASSES for i in range(count)]})
        pq.write_table(table, root / "parquet" / f"{part}.parquet", row_group_size=100)


def make_step(device: torch.device) -> Callable[[Batch], None]:
    """Give one step of training."""
    network = timm.create_model("resnet18", num_classes=CLASSES).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), 0.01, momentum=0.9)

    def step(batch: Batch) -> None:
        loss = F.cross_entropy(network(batch.images), batch.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def rate(data: DataSet, epoch: int, step: Callable[[Batch], None]) -> float:
    """Give the images/s of one epoch, its first batches left out."""
    began, seen = 0.0, 0
    for number, batch in enumerate(data.train.batches(BATCH, table=data.train.epoch(0, "student", epoch))):
        if number == UNTIMED:
            _wait(data)
            began, seen = time.perf_counter(), 0
        step(batch)
        seen += len(batch.labels)
    _wait(data)
    return seen / (time.perf_counter() - began)


def _wait(data: DataSet) -> None:
    if data.train.store.device.type == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="images/s of a step on streamed photographs and on images in memory")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")
    arguments = parser.parse_args()
    device, random = torch.device(arguments.device), np.random.default_rng(0)
    photographs = [photograph(random) for _ in range((arguments.steps + UNTIMED) * BATCH)]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write(root, photographs)

        def opened(name: str, memory: str) -> DataSet:
            settings = {"name": str(root / name), "validation": 0, "workers": arguments.workers, "memory": memory}
            return load(DataSettings.model_validate(settings)).to(device)

        sets = {"memory": opened("folder", "device")} | {n: opened(n, "stream") for n in ("folder", "tar", "parquet")}
        step = make_step(device)
        rates: dict[str, list[float]] = {name: [] for name in sets}
        alone: dict[str, list[float]] = {name: [] for name in sets}
        for epoch in range(arguments.rounds):
            for name, data in sets.items():
                rates[name].append(rate(data, epoch, step))
                alone[name].append(rate(data, epoch, lambda batch: None))
    found = {
        name: {
            "images_per_second": statistics.median(rates[name]),
            "alone": statistics.median(alone[name]),
            "of_memory": statistics.median(rates[name]) / statistics.median(rates["memory"]),
        }
        for name in sets
    }
    if arguments.json:
        print(json.dumps(found))
        return
    mean = sum(map(len, photographs)) / len(photographs) / 1000
    print(
        f"resnet18 at 224, batch {BATCH}, on {device.type} with {torch.get_num_threads()} threads, {arguments.workers} "
        f"workers, {len(photographs)} photographs of {mean:.0f} kB"
    )
    for name, figures in found.items():
        print(
            f"  {name:8} {figures['images_per_second']:8.1f} images/s  {figures['of_memory']:6.1%} of memory, "
            f"alone {figures['alone']:8.1f} images/s"
        )


if __name__ == "__main__":
    main()

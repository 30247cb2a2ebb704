"""RAM of a run on a set of Tiny ImageNet's size: 100,000 JPEG files of 64 pixels, 200 classes, in Parquet.

    python benchmarks/memory.py [--images 100000 --student resnet8]

Trains a few steps with the images held as uint8, where they take images x 64 x 64 x 3 bytes, and streamed by workers,
each in a process of its own, and prints the most that each held, libraries included.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from alone import alone
from PIL import Image

import docendo

CLASSES, SIDE, DISTINCT = 200, 64, 1000


def write(path: Path, images: int) -> None:
    """Write so many pictures, smooth as photographs are; few are distinct, which saves time and changes nothing."""
    small = np.random.default_rng(0).integers(0, 256, (DISTINCT, 8, 8, 3), dtype=np.uint8)
    encoded = []
    for pixels in small:
        buffer = io.BytesIO()
        Image.fromarray(pixels).resize((SIDE, SIDE)).save(buffer, "JPEG")
        encoded.append({"bytes": buffer.getvalue(), "path": None})
    rows = np.arange(images)
    table = {"image": [encoded[i % DISTINCT] for i in rows], "label": rows % CLASSES}
    pq.write_table(pa.table(table), path, use_dictionary=False, row_group_size=1000)


def peak(folder: Path, student: str, memory: str) -> int | None:
    """Give the most bytes that a few steps need."""
    sets = {"data.memory": memory, "data.validation": 0.01}
    measured = docendo.bench("plain", student=student, data=folder, image_size=SIDE, steps=3, rounds=1, set=sets)
    return measured.peak_memory_bytes


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="RAM of a run on a set of Tiny ImageNet's size")
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--student", default="resnet8")
    arguments = parser.parse_args()
    held = arguments.images * SIDE * SIDE * 3
    print(f"{arguments.images:,} images of {SIDE} pixels as uint8: {held / 2**30:.2f} GiB")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder / "train.parquet", arguments.images)
        write(folder / "test.parquet", arguments.images // 10)
        for memory in ("device", "stream"):
            most = alone(peak, folder, arguments.student, memory)
            beside = "" if most is None or memory == "stream" else f", {(most - held) / 2**30:.2f} beside the images"
            print(f"data.memory={memory}: at most {(most or 0) / 2**30:.2f} GiB{beside}", flush=True)


if __name__ == "__main__":
    main()

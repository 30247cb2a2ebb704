"""Random pictures in Parquet files, for benchmarks that need no real ones."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image


def random_pictures(images: int, classes: int, side: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Make pixels (images, side, side, 3), uint8, and labels, every class as often."""
    pixels = np.random.default_rng(0).integers(0, 256, (images, side, side, 3), dtype=np.uint8)
    return pixels, np.arange(images) % classes


def write_parquet(path: Path, pixels: np.ndarray, labels: np.ndarray) -> None:
    """Write pictures in the Hugging Face layout."""
    encoded = []
    for p in pixels:
        buffer = io.BytesIO()
        Image.fromarray(p).save(buffer, "PNG")
        encoded.append({"bytes": buffer.getvalue(), "path": None})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"img": encoded, "fine_label": labels}), path)


def write_set(folder: Path, images: int, classes: int, side: int = 32) -> Path:
    """Write a training and a test set of random pictures, and give their folder."""
    for name, count in (("train", images), ("test", classes)):
        write_parquet(folder / f"{name}.parquet", *random_pictures(count, classes, side))
    return folder

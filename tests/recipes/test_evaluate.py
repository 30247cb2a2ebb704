"""Runs on images from disk: evaluation reads what it needs and no more, and streams resume."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import docendo
from docendo.errors import Interrupted
from tests.conftest import StopAt, same, weights


def test_training_images_are_not_needed(small_run: Callable[..., docendo.Run], tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for part, count in (("train", 20), ("test", 15)):
        for name in ("cat", "dog"):
            folder = tmp_path / "pets" / part / name
            folder.mkdir(parents=True)
            for i in range(count):
                Image.fromarray(random.integers(0, 256, (14, 12, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    sets = {"data.train_images": 30}
    run = small_run("plain", data=tmp_path / "pets", student="resnet8", epochs=1, batch_size=10, set=sets)
    (tmp_path / "pets" / "train" / "cat" / "7.png").write_bytes(b"damaged since")
    measured = docendo.evaluate(run.folder)
    assert measured["images"] == 30
    assert measured["top1"] == run.results["networks"]["student"]["test_top1"]


def test_a_run_on_streamed_parquet_resumes_bit_for_bit(
    small_run: Callable[..., docendo.Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("docendo.data.sources.parquet._WINDOW", 1)
    random = np.random.default_rng(0)
    for part, count in (("train", 200), ("test", 20)):
        rows = []
        for _ in range(count):
            buffer = io.BytesIO()
            Image.fromarray(random.integers(0, 256, (12, 12, 3), dtype=np.uint8)).save(buffer, "PNG")
            rows.append({"bytes": buffer.getvalue(), "path": None})
        table = pa.table({"image": rows, "label": [i % 2 for i in range(count)]})
        pq.write_table(table, tmp_path / f"{part}.parquet", row_group_size=8)
    options = {"data": tmp_path, "student": "resnet8", "batch_size": 20}
    options["set"] = {"data.train_images": None, "data.memory": "stream", "data.workers": 1}
    straight = small_run("plain", "straight", **options)
    with pytest.raises(Interrupted):
        small_run("plain", "stopped", progress=StopAt(12), **options)
    resumed = small_run("plain", "stopped", resume=True, **options)
    assert same(weights(straight.folder, "student"), weights(resumed.folder, "student"))
    assert docendo.evaluate(straight.folder)["top1"] == straight.results["networks"]["student"]["test_top1"]

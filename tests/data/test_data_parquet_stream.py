"""Streaming Parquet: few row groups in memory at a time, and still an order that only the seed decides."""

import os
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import torch

from docendo.data import DataSettings, load
from docendo.data.seeds import generator
from docendo.data.sources.parquet_file import ParquetFile
from docendo.errors import DocendoError

ROWS, GROUP = 600, 10


def open_stream(path, **settings):
    return load(DataSettings(name=str(path), memory="stream", **{"workers": 0, "validation": 0, **settings}))


@pytest.fixture
def many(make_parquet, make_image, encode, tmp_path, monkeypatch):
    """Write two files with 60 row groups in all, and let 8 of them fit the window."""
    images = [encode(make_image(i), "BMP") for i in range(ROWS)]
    labels = [int(label) for label in torch.randint(3, (ROWS,), generator=generator("labels"))]
    for i, some in enumerate((slice(0, 250), slice(250, ROWS))):
        make_parquet(f"many/train-{i}.parquet", labels[some], images=images[some], row_group=GROUP)
    make_parquet("many/test.parquet", [0, 1, 2])
    monkeypatch.setattr("docendo.data.sources.parquet._WINDOW", int(8.5 * GROUP * len(images[0])))
    return tmp_path / "many"


@pytest.fixture
def reads(monkeypatch):
    """Count how often each row group is read."""
    counted, read = Counter(), ParquetFile.group

    def group(file, number):
        counted[file.path.name, number] += 1
        return read(file, number)

    monkeypatch.setattr(ParquetFile, "group", group)
    return counted


def test_an_epoch_reads_every_row_group_once_and_holds_few(many, reads):
    data = open_stream(many)
    order = data.train.epoch(0, "student", 0).order
    assert order.sort().values.tolist() == list(range(ROWS))
    group = data.train.rows[order] // GROUP
    live = [len(set(group[:i].tolist()) & set(group[i:].tolist())) for i in range(ROWS)]
    assert max(live) <= 9
    assert sum(live) / ROWS > 4
    assert len(list(data.train.batches(16, table=data.train.epoch(0, "student", 0)))) == 38
    assert len(reads) == ROWS // GROUP
    assert set(reads.values()) == {1}


def test_the_order_is_a_function_of_seed_stream_and_epoch(many):
    first, again = open_stream(many), open_stream(many)
    order = first.train.epoch(3, "student", 7).order
    assert torch.equal(order, again.train.epoch(3, "student", 7).order)
    for other in ((4, "student", 7), (3, "teacher", 7), (3, "student", 8)):
        assert not torch.equal(order, first.train.epoch(*other).order)


def test_neighbours_come_from_many_groups_and_every_place_is_as_likely(many):
    data = open_stream(many)
    orders = torch.stack([data.train.epoch(seed, "student", 0).order for seed in range(200)])
    together = [len(set((order[i : i + 20] // GROUP).tolist())) for order in orders for i in (100, 300, 500)]
    assert sum(together) / len(together) > 6
    place = orders.argsort(1).double().mean(0)  # of each row
    assert float((place - (ROWS - 1) / 2).abs().max()) < 6 * ROWS / 12**0.5 / 200**0.5


@pytest.mark.parametrize("workers", [0, 2])
def test_mixed_rows_are_those_in_memory_and_resume_in_the_middle(many, workers):
    stream = open_stream(many, workers=workers, augment="resized_crop")
    pixels = load(DataSettings(name=str(many), validation=0, memory="device")).train.store.pixels
    table = stream.train.epoch(1, "x", 0)
    whole = list(stream.train.batches(32, table=table))
    for batch, other in zip(whole[7:], stream.train.batches(32, table=table, start=7), strict=True):
        assert all(torch.equal(batch[field], other[field]) for field in range(4))
    plain = open_stream(many, workers=workers, augment="none")
    for batch in plain.train.batches(50, table=plain.train.epoch(1, "x", 0)):
        shown = batch.images * torch.tensor(plain.std)[:, None, None] + torch.tensor(plain.mean)[:, None, None]
        expected = pixels[plain.train.rows[batch.index]].permute(0, 3, 1, 2) / 255
        torch.testing.assert_close(shown, expected, atol=1e-5, rtol=0)
        assert torch.equal(batch.labels, plain.train.labels[batch.index])


def test_rows_in_order_skip_what_is_not_asked_for(many, make_image):
    data = open_stream(many, train_images=37)
    assert len(data.train) == 37
    part = data.train.store.part
    for row, encoded in zip(data.train.rows.tolist(), part.encoded(data.train.rows), strict=True):
        assert np.array_equal(part.read(row), make_image(row))
        assert encoded[:2] == b"BM"
    assert [len(batch.labels) for batch in data.train.batches(30)] == [30, 7]


def test_few_row_groups_are_mixed_completely(make_parquet, tmp_path):
    path = make_parquet("a.parquet", [0, 1] * 20, row_group=10)
    data = open_stream(path)
    expected = torch.randperm(len(data.train), generator=generator(0, "x", 0, "order"))
    assert torch.equal(data.train.epoch(0, "x", 0).order, expected)


def test_files_that_lie_sorted_by_class_are_warned_about(many, make_parquet, tmp_path, monkeypatch):
    assert open_stream(many).notes == ()
    path = make_parquet("sorted.parquet", [0] * 200 + [1] * 200 + [2] * 200, row_group=10)
    note = f"images lie sorted by class from {path} row 0 on, and streaming mixes only about "
    assert open_stream(path).notes[-1].startswith(note)
    assert open_stream(path).notes[-1].endswith("or keep them in memory (--set data.memory=device)")
    assert not load(DataSettings(name=str(path))).notes[-1].startswith(note)
    monkeypatch.setattr("docendo.data.sources.parquet._WINDOW", 2**28)
    assert not open_stream(path).notes[-1].startswith(note)


def test_a_row_group_too_large_to_mix_is_refused_for_training_only(many, monkeypatch):
    monkeypatch.setattr("docendo.data.sources.parquet._LARGEST", 1000)
    data = open_stream(many)
    assert len(list(data.train.batches(100))) == 6
    with pytest.raises(
        DocendoError, match=r"^row group \d of \S*many/train-0.parquet holds 0 MiB .*row_group_size=100$"
    ):
        data.train.epoch(0, "x", 0)


SCRIPT = """
import re, resource, sys
from pathlib import Path
from docendo.data import DataSettings, load
from docendo.data.sources import parquet
parquet._WINDOW = 8 * 2**20

def peak(path):
    data = load(DataSettings(name=path, memory="stream", workers=0, image_size=8, validation=0))
    for epoch in range(2):
        for _ in data.train.batches(32, table=data.train.epoch(0, "x", epoch)):
            pass
    for _ in data.train.batches(32):
        pass
    status = Path("/proc/self/status")
    if status.exists():  # where the other figure begins with that of the process that started this one
        return int(re.search(r"VmHWM:\\s*(\\d+) kB", status.read_text())[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

small = peak(sys.argv[1])
print(peak(sys.argv[2]) - small)
"""


def test_memory_is_flat_however_large_the_files(make_parquet, make_image, encode, tmp_path):
    images = [encode(make_image(i, (200, 200)), "BMP") for i in range(50)]  # 6 MB
    for name, shards in (("small", 3), ("large", 16)):
        for i in range(shards):
            make_parquet(f"{name}/train-{i}.parquet", [0, 1] * 25, images=images, row_group=10)
    total = sum(path.stat().st_size for path in (tmp_path / "large").iterdir())
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SCRIPT, tmp_path / "small", tmp_path / "large"]
    grown = int(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)
    assert total > 90e6
    assert grown < 20e6

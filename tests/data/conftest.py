"""Small data sets made of noise, as folders and as Parquet files."""

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image


def noise(seed, size=(12, 12), mode="RGB"):
    shape = (size[1], size[0]) if mode == "L" else (size[1], size[0], len(mode))
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def encoded(image, form="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


@pytest.fixture
def make_image():
    return noise


@pytest.fixture
def encode():
    return encoded


@pytest.fixture
def make_folder(tmp_path):
    """Write so many images into each class folder: make_folder({"train/cat": 5, "train/dog": 7})."""

    def make(counts, size=(12, 12), ending=".png", name="pets"):
        root = tmp_path / name
        root.mkdir(exist_ok=True)
        seed = 0
        for folder, count in counts.items():
            (root / folder).mkdir(parents=True)
            for number in range(count):
                seed += 1
                noise(seed, size).save(root / folder / f"{number:03}{ending}")
        return root

    return make


@pytest.fixture
def make_parquet(tmp_path):
    """Write one Parquet file; images are bytes where they are not given."""

    def make(path, labels, *, images=None, names=None, columns=("image", "label"), label_type=None, row_group=4):
        path = tmp_path / path
        path.parent.mkdir(exist_ok=True, parents=True)
        images = images or [encoded(noise(1000 + i)) for i in range(len(labels))]
        rows = [None if one is None else {"bytes": one, "path": f"{i}.png"} for i, one in enumerate(images)]
        kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
        table = pa.table(
            {columns[0]: pa.array(rows, kind), columns[1]: pa.array(labels, label_type or pa.int64()), "id": labels}
        )
        if names is not None:
            features = {columns[0]: {"_type": "Image"}, columns[1]: {"names": names, "_type": "ClassLabel"}}
            table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
        pq.write_table(table, path, row_group_size=row_group)
        return Path(path)

    return make

"""Parquet files in the Hugging Face layout: a column of encoded images, a column of labels."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import Tensor

from docendo.data.images import read_image
from docendo.data.sources.folder import PART_NAMES
from docendo.data.sources.part import Found, PartName, decode_blocks, readable_examples
from docendo.errors import DocendoError

_IMAGE_COLUMNS = ("image", "img")
_LABEL_COLUMNS = ("label", "fine_label")
_BLOCK = 1024


def _bytes_of(column: Any) -> Any:
    return pc.struct_field(column, "bytes") if pa.types.is_struct(column.type) else column


@dataclass(frozen=True)
class _File:
    path: Path
    column: str  # of the encoded images: "image.bytes"
    labels: np.ndarray[Any, np.dtype[np.int64]]
    classes: tuple[str, ...] | None

    def blocks(self, size: int = _BLOCK) -> Iterator[Any]:
        """Give the encoded images as Arrow arrays, reading one row group after the other."""
        with _reading(self.path), pq.ParquetFile(self.path) as file:
            for batch in file.iter_batches(batch_size=size, columns=[self.column], use_threads=False):
                yield _bytes_of(batch.column(0))


@dataclass(frozen=True, eq=False, repr=False)
class ParquetPart:
    """Rows of Parquet files, one file after the other.

    Attributes:
        files: the files.
        labels: (N,), int64.
    """

    files: tuple[_File, ...]
    labels: Tensor

    @cached_property
    def _encoded(self) -> Any:
        return pa.chunked_array([block for file in self.files for block in file.blocks()])

    @cached_property
    def _ends(self) -> list[int]:
        return list(accumulate(len(file.labels) for file in self.files))

    def read(self, row: int) -> Image.Image:
        """Decode one image; see `Part`."""
        return _decoded(self._encoded[row].as_py(), self.where(row))

    def examples(self, count: int) -> list[Image.Image]:
        """Decode the first images; see `Part`."""
        first = next(self.files[0].blocks(count)).to_pylist()
        return readable_examples(encoded for encoded in first if encoded is not None)

    def decode(self, channels: int, side: int) -> Tensor:
        """Decode all images; see `Part`."""
        blocks = (block.to_pylist() for file in self.files for block in file.blocks())
        return decode_blocks(blocks, len(self.labels), self.where, channels, side)

    def make_ready(self) -> None:
        """Read the encoded images into memory, as Parquet has no quick way to a single row; see `Part`."""
        _ = self._encoded

    def where(self, row: int) -> str:
        """Give a file and a row; see `Part`."""
        number = bisect_right(self._ends, row)
        file = self.files[number]
        return f"{file.path} row {row - self._ends[number] + len(file.labels)}"

    def listing(self) -> Iterable[str]:
        """Name the files with their sizes in bytes; see `Part`."""
        return (f"{file.path.name} {file.path.stat().st_size}" for file in self.files)


def parquet_files(path: Path) -> list[Path]:
    """List the Parquet files in a folder, or else in its `data` folder."""
    return sorted(path.glob("*.parquet")) or sorted(path.glob("data/*.parquet"))


def parquet(path: Path) -> Found:
    """Open Parquet files: one, or all in a folder, whose names then begin with train, test, val, valid or validation.

    Images are in a column `image` or `img`, as `{bytes, path}` or plain bytes; labels in `label` or `fine_label`; class
    names in the metadata, as the datasets library writes them, else labels are their own names.

    Raises:
        DocendoError: a file is not Parquet, lacks a column, a label is missing, or there are no training rows.
    """
    by_part: dict[PartName, list[Path]] = {}
    if path.is_file():
        by_part["train"] = [path]
        others: list[Path] = []
    else:
        by_part, others = _sorted_out(parquet_files(path))
    if "train" not in by_part:
        names = ", ".join(own.name for files in by_part.values() for own in files)
        raise DocendoError(f"{path} holds {names}, but no train-*.parquet")
    files = {part: tuple(_open(own) for own in paths) for part, paths in by_part.items()}
    parts = {
        part: ParquetPart(own, torch.from_numpy(np.concatenate([file.labels for file in own])))
        for part, own in files.items()
    }
    for part, own_rows in parts.items():
        if not len(own_rows.labels):
            raise DocendoError(f"{', '.join(str(own) for own in by_part[part])}: there are no rows")
    return Found(
        name=path.resolve().name.removesuffix(".parquet"),
        classes=_classes([file for own in files.values() for file in own], parts["train"]),
        parts=parts,
        notes=tuple(f"{own.name} is not used: its name says neither train nor val nor test" for own in others),
    )


def image_in_row(path: Path, row: int) -> Image.Image:
    """Decode one image of a Parquet file, reading no more than its row group.

    Raises:
        DocendoError: there is no such file or row, or it cannot be read.
    """
    with _reading(path), pq.ParquetFile(path) as file:
        column = _image_column(path, file.schema_arrow)
        if row >= file.metadata.num_rows:
            raise DocendoError(f"{path} has {file.metadata.num_rows} rows, counted from 0, and none numbered {row}")
        group, first = 0, 0
        while row >= (after := first + file.metadata.row_group(group).num_rows):
            group, first = group + 1, after
        values = _bytes_of(file.read_row_group(group, columns=[column], use_threads=False).column(0))
        encoded = values[row - first].as_py()
    return _decoded(encoded, f"{path} row {row}")


def _decoded(encoded: bytes | None, where: str) -> Image.Image:
    if encoded is None:
        raise DocendoError(f"cannot read {where}: there is no image")
    return read_image(encoded, where)


def _sorted_out(paths: list[Path]) -> tuple[dict[PartName, list[Path]], list[Path]]:
    by_part: dict[PartName, list[Path]] = {}
    others = []
    for path in paths:
        word = re.split(r"[^a-z]", path.name.casefold(), maxsplit=1)[0]
        if word in PART_NAMES:
            by_part.setdefault(PART_NAMES[word], []).append(path)
        else:
            others.append(path)
    return (by_part, others) if by_part else ({"train": others}, [])


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise DocendoError(f"there is no {path}") from error
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DocendoError(f"{path} is not a Parquet file, or a damaged one: {reason}") from error


def _open(path: Path) -> _File:
    with _reading(path), pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        image = _image_column(path, schema)
        label = _column(path, schema.names, _LABEL_COLUMNS)
        label_kind = schema.field(label).type
        if not pa.types.is_integer(label_kind):
            raise DocendoError(f"{path}: column {label} holds {label_kind}, but whole numbers are needed")
        column = file.read(columns=[label], use_threads=False).column(0)
        if column.null_count:
            row = column.is_null().index(True).as_py()
            raise DocendoError(f"{path} row {row} has no {label} (and {column.null_count - 1} more)")
        labels = np.array(column.cast(pa.int64()))
        return _File(path, image, labels, _names(schema.metadata, label))


def _image_column(path: Path, schema: Any) -> str:
    name = _column(path, schema.names, _IMAGE_COLUMNS)
    kind = schema.field(name).type
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        return f"{name}.bytes"
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return name
    raise DocendoError(f"{path}: column {name} holds {kind}, but image files as {{bytes, path}} are needed")


def _column(path: Path, names: list[str], wanted: tuple[str, ...]) -> str:
    for name in wanted:
        if name in names:
            return name
    raise DocendoError(f"{path} has the columns {', '.join(names)}, but none called {' or '.join(wanted)}")


def _names(metadata: dict[bytes, bytes] | None, label: str) -> tuple[str, ...] | None:
    try:
        names = json.loads((metadata or {})[b"huggingface"])["info"]["features"][label]["names"]
    except (KeyError, TypeError, ValueError):
        return None
    return tuple(str(name) for name in names) if isinstance(names, list) else None


def _classes(files: list[_File], train: ParquetPart) -> tuple[str, ...]:
    named = [file for file in files if file.classes is not None]
    for file in named[1:]:
        if file.classes != named[0].classes:
            raise DocendoError(f"{named[0].path} and {file.path} name different classes: take files of one data set")
    if named:
        return named[0].classes or ()
    largest, row = (int(value) for value in train.labels.max(0))
    if largest >= len(train.labels):
        raise DocendoError(
            f"{train.where(row)} has label {largest}, but there are only {len(train.labels)} training images: number "
            "the classes 0, 1, 2, ..."
        )
    return tuple(str(label) for label in range(largest + 1))

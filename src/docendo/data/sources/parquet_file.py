"""One Parquet file: what is in it, and its images by row group, in order or singly."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image

from docendo.data.sources.part import decode
from docendo.errors import DocendoError

_IMAGE_COLUMNS = ("image", "img")
_LABEL_COLUMNS = ("label", "fine_label")
_BATCH = 64  # rows that are read at a time where they are read in order


@dataclass(frozen=True)
class ParquetFile:
    """A Parquet file.

    Attributes:
        path: where it is.
        column: the column of the encoded images: "image.bytes".
        labels: (N,), of its rows.
        classes: their names, if the file has them.
        metadata: what its footer says, so that it need not be read again.
    """

    path: Path
    column: str
    labels: np.ndarray[Any, np.dtype[np.int64]]
    classes: tuple[str, ...] | None
    metadata: Any

    @property
    def groups(self) -> list[tuple[int, int]]:
        """Give the rows of each row group, and the bytes of their images."""
        groups = [self.metadata.row_group(i) for i in range(self.metadata.num_row_groups)]
        place = [self.metadata.schema.column(i).path for i in range(self.metadata.num_columns)].index(self.column)
        return [(group.num_rows, group.column(place).total_uncompressed_size) for group in groups]

    def group(self, number: int) -> Any:
        """Read the encoded images of one row group, as an Arrow array."""
        with self._opened() as file:
            return _bytes_of(file.read_row_group(number, columns=[self.column], use_threads=False).column(0))

    def in_order(self, rows: list[int]) -> Iterator[bytes | None]:
        """Give the encoded images of some rows, in ascending order, a few of them in memory at a time."""
        starts = list(accumulate((count for count, _ in self.groups), initial=0))
        wanted = iter(rows)
        row = next(wanted)
        with self._opened(buffer_size=2**20) as file:
            for number in sorted({bisect_right(starts, row) - 1 for row in rows}):
                first = starts[number]
                for batch in file.iter_batches(_BATCH, [number], [self.column], use_threads=False):
                    images = _bytes_of(batch.column(0))
                    while row < first + len(images):
                        yield images[row - first].as_py()
                        row = next(wanted, starts[-1])
                    first += len(images)

    @contextmanager
    def _opened(self, buffer_size: int = 0) -> Iterator[Any]:
        with (
            _reading(self.path),
            pq.ParquetFile(self.path, metadata=self.metadata, buffer_size=buffer_size) as file,
        ):
            yield file


def image_in_row(path: Path, row: int, short_side: int | None = None) -> Image.Image:
    """Decode one image of a Parquet file, reading no more than its row group.

    Raises:
        DocendoError: there is no such file or row, or it cannot be read.
    """
    with _reading(path), pq.ParquetFile(path) as file:
        column = _image_column(path, file.schema_arrow)
        if row >= file.metadata.num_rows:
            raise DocendoError(f"{path} has {file.metadata.num_rows} rows, counted from 0, and none numbered {row}")
        own = ParquetFile(path, column, np.empty(0, np.int64), None, file.metadata)
    return decode(next(own.in_order([row])), f"{path} row {row}", short_side)


def _bytes_of(column: Any) -> Any:
    return pc.struct_field(column, "bytes") if pa.types.is_struct(column.type) else column


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise DocendoError(f"there is no {path}") from error
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DocendoError(f"{path} is not a Parquet file, or a damaged one: {reason}") from error


def open_parquet(path: Path) -> ParquetFile:
    """Read the labels of a file, and what it says about itself.

    Raises:
        DocendoError: it is not Parquet, lacks a column, or a label is missing.
    """
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
        return ParquetFile(path, image, labels, _names(schema.metadata, label), file.metadata)


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

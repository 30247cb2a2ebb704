"""Parquet files in the Hugging Face layout: a column of encoded images, a column of labels.

Parquet is read by row group: there is no quick way to a single row. So that few groups are in memory at a time,
streamed training visits rows in an order that stays within a window of groups: groups begin in random order, and the
rows of each are spread evenly over the time in which so many groups begin.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, groupby
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from docendo.data.sources.parquet_file import ParquetFile, open_parquet
from docendo.data.sources.part import Encoded, Found, Part
from docendo.data.sources.shards import by_part, clumped, numbered_classes, sizes
from docendo.errors import DocendoError

_WINDOW = 2**28  # bytes of row groups that streamed training keeps in memory
_FEWEST = 4  # groups in that window, however large they are
_LARGEST = 2**30  # bytes: the largest row group that it can read


@dataclass(frozen=True, eq=False, repr=False)
class ParquetPart(Part):
    """Rows of Parquet files, one file after the other.

    Attributes:
        files: the files.
        labels: (N,), int64.
    """

    files: tuple[ParquetFile, ...]
    labels: Tensor

    @cached_property
    def _ends(self) -> list[int]:
        return list(accumulate(len(file.labels) for file in self.files))

    @cached_property
    def _groups(self) -> list[tuple[ParquetFile, int]]:
        return [(file, number) for file in self.files for number in range(len(file.groups))]

    @cached_property
    def _group_sizes(self) -> Tensor:
        """Give (G, 2): of each row group of all files, rows and bytes."""
        return torch.tensor([sizes for file in self.files for sizes in file.groups])

    @cached_property
    def _group_starts(self) -> Tensor:
        return self._group_sizes[:, 0].cumsum(0) - self._group_sizes[:, 0]

    @property
    def _window(self) -> int:
        """Count the row groups that streamed training keeps in memory."""
        return max(_FEWEST, _WINDOW // max(1, int(self._group_sizes[:, 1].double().mean())))

    def _group_of(self, rows: Tensor) -> Tensor:
        return torch.searchsorted(self._group_starts, rows, right=True) - 1

    def shuffled(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Draw an order that stays within a window of row groups; see `Part`.

        Raises:
            DocendoError: a row group is too large to keep in memory.
        """
        largest, number = (int(value) for value in self._group_sizes[:, 1].max(0))
        if largest > _LARGEST:
            raise DocendoError(
                f"row group {self._groups[number][1]} of {self._groups[number][0].path} holds {largest >> 20} MiB of "
                "images, too many to read for each few of them: write the file again with row_group_size=100"
            )
        count, window = len(self._groups), self._window
        if count <= window:
            return torch.randperm(len(rows), generator=generator)
        begin = torch.randperm(count, generator=generator)[self._group_of(rows)].double()
        return (begin + window * torch.rand(len(rows), generator=generator, dtype=torch.float64)).argsort(stable=True)

    def streaming_notes(self) -> Iterable[str]:
        """Warn of files that are sorted by class; see `Part`."""
        return clumped(self, int(self._group_sizes[:, 0].double().mean() * self._window))

    def encoded(self, rows: Tensor) -> Iterator[Encoded]:
        """Give encoded images, each row group read once and dropped after the last of its rows; see `Part`."""
        if bool((rows[1:] > rows[:-1]).all()):
            yield from self._in_order(rows)
            return
        group = self._group_of(rows)
        places, left, read = (rows - self._group_starts[group]).tolist(), Counter(group.tolist()), {}
        for number, place in zip(group.tolist(), places, strict=True):
            if number not in read:
                file, own_number = self._groups[number]
                read[number] = file.group(own_number)
            yield read[number][place].as_py()
            left[number] -= 1
            if not left[number]:
                del read[number]

    def _in_order(self, rows: Tensor) -> Iterator[Encoded]:
        for number, some in groupby(rows.tolist(), lambda row: bisect_right(self._ends, row)):
            file = self.files[number]
            before = self._ends[number] - len(file.labels)
            yield from file.in_order([row - before for row in some])

    def _some_rows(self, count: int) -> Tensor:
        return torch.arange(count)

    def where(self, row: int) -> str:
        """Give a file and a row; see `Part`."""
        number = bisect_right(self._ends, row)
        file = self.files[number]
        return f"{file.path} row {row - self._ends[number] + len(file.labels)}"

    def listing(self) -> Iterable[str]:
        """Name the files with their sizes in bytes; see `Part`."""
        return sizes(file.path for file in self.files)


def parquet(path: Path) -> Found:
    """Open Parquet files: one, or all in a folder, whose names say which are for training, validation and test.

    Images are in a column `image` or `img`, as `{bytes, path}` or plain bytes; labels in `label` or `fine_label`; class
    names in the metadata, as the datasets library writes them, else labels are their own names.

    Raises:
        DocendoError: a file is not Parquet, lacks a column, a label is missing, or there are no training rows.
    """
    paths, notes = by_part(path, ".parquet")
    files = {part: tuple(open_parquet(own) for own in some) for part, some in paths.items()}
    parts = {
        part: ParquetPart(own, torch.from_numpy(np.concatenate([file.labels for file in own])))
        for part, own in files.items()
    }
    for part, own_rows in parts.items():
        if not len(own_rows.labels):
            raise DocendoError(f"{', '.join(str(own) for own in paths[part])}: there are no rows")
    return Found(
        name=path.resolve().name.removesuffix(".parquet"),
        classes=_classes([file for own in files.values() for file in own], parts["train"]),
        parts=parts,
        notes=notes,
    )


def _classes(files: list[ParquetFile], train: ParquetPart) -> tuple[str, ...]:
    named = [file for file in files if file.classes is not None]
    for file in named[1:]:
        if file.classes != named[0].classes:
            raise DocendoError(f"{named[0].path} and {file.path} name different classes: take files of one data set")
    return (named[0].classes or ()) if named else numbered_classes(train)

"""Rows of bytes by key, on disk: written once, checked whenever they are read, shared by all processes that ask.

Two files lie side by side: `keys`, and `rows`, where row i belongs to key i and carries a checksum of both. Rows are
only ever appended, under a lock, and keys after their rows. So a kill leaves at most a torn end, which the next writer
cuts off; whatever else happens to the files, a row that does not fit its key and checksum is one that is not there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

_WORD = 8  # bytes


class AnswerFile:
    """Rows by key, in a folder of their own.

    Args:
        folder: made if it is not there.
        keys: keys are integers from 0 up to this number, exclusive.
        size: bytes of a row.
        budget: bytes that the two files may take.

    Attributes:
        full: why nothing more is kept; empty while there is room.

    Raises:
        OSError: the folder cannot be written.
    """

    def __init__(self, folder: Path, keys: int, size: int, budget: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._keys_file, self._rows_file = folder / "keys", folder / "rows"
        for path in (self._keys_file, self._rows_file):
            path.touch()
        self._size = size
        self._row_bytes = self.row_bytes(size) - _WORD
        words = self._row_bytes // _WORD
        generator = torch.Generator().manual_seed(words)
        self._multipliers = torch.randint(-(2**62), 2**62, (words,), generator=generator) | 1
        self._places = torch.full((keys,), -1, dtype=torch.int32)
        self._known, self._budget, self.full = 0, budget, ""
        self._rows = torch.empty(0, words, dtype=torch.int64)
        self.refresh()

    def __len__(self) -> int:
        """Count the rows seen so far."""
        return self._known

    @staticmethod
    def row_bytes(size: int) -> int:
        """Give the bytes that a row of so many takes in both files: key, row in whole words, checksum."""
        return (1 + -(-size // _WORD) + 1) * _WORD

    def refresh(self) -> None:
        """Take notice of what other processes have added."""
        count = self._complete()
        if count <= self._known:
            return
        with self._keys_file.open("rb") as file:
            file.seek(self._known * _WORD)
            new = torch.frombuffer(bytearray(file.read((count - self._known) * _WORD)), dtype=torch.int64)
        places = torch.arange(self._known, count, dtype=torch.int32)
        sensible = (new >= 0) & (new < len(self._places))
        self._places[new[sensible]] = places[sensible]
        self._known = count
        self._rows = torch.from_file(
            str(self._rows_file), shared=True, size=count * self._row_bytes // _WORD, dtype=torch.int64
        ).view(count, -1)

    def read(self, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Look keys up.

        Args:
            keys: (N,), int64.

        Returns:
            (N, size), uint8, the rows, arbitrary where there is none; and (N,), bool: where there is one, undamaged.
        """
        places = self._places[keys].long()
        there = places >= 0
        words = torch.zeros(len(keys), self._row_bytes // _WORD, dtype=torch.int64)
        words[there] = self._rows[places[there]]
        sound = there & (self._checksums(keys, words) == words[:, -1])
        self._places[keys[there & ~sound]] = -1  # to be computed, and added, anew
        return words.view(torch.uint8)[:, : self._size], sound

    def add(self, keys: Tensor, rows: Tensor) -> None:
        """Keep rows, as far as there is room; those that another process has added meanwhile are not kept twice.

        Args:
            keys: (N,), int64, each once.
            rows: (N, size), uint8, on the CPU.
        """
        if self.full or not len(keys):
            return
        try:
            with self._alone() as (keys_file, rows_file):
                self.refresh()
                new = self._places[keys] < 0
                room = self._budget // (self._row_bytes + _WORD) - self._known
                keys, rows = keys[new][: max(room, 0)], rows[new][: max(room, 0)]
                if room < int(new.sum()):
                    self.full = "its budget is used up"
                words = self._to_words(keys, rows)
                _append(rows_file, words)
                _append(keys_file, keys)
                self.refresh()
        except OSError as error:
            self.full = error.strerror or str(error)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[tuple[BinaryIO, BinaryIO]]:
        """Open both files for this process alone, a torn end cut off; what fails within leaves no torn end either."""
        with self._keys_file.open("r+b") as keys_file, self._rows_file.open("r+b") as rows_file:
            _lock(keys_file)
            count = self._complete()
            try:
                for file, size in ((keys_file, _WORD), (rows_file, self._row_bytes)):
                    file.truncate(count * size)
                    file.seek(count * size)
                yield keys_file, rows_file
            except OSError:
                keys_file.truncate(count * _WORD)
                rows_file.truncate(count * self._row_bytes)
                raise

    def _complete(self) -> int:
        """Count the rows that both files hold in full."""
        sizes = (self._keys_file.stat().st_size // _WORD, self._rows_file.stat().st_size // self._row_bytes)
        return min(sizes)

    def _to_words(self, keys: Tensor, rows: Tensor) -> Tensor:
        words = torch.zeros(len(rows), self._row_bytes, dtype=torch.uint8)
        words[:, : self._size] = rows
        packed = words.view(torch.int64)
        packed[:, -1] = self._checksums(keys, packed)
        return packed

    def _checksums(self, keys: Tensor, words: Tensor) -> Tensor:
        """Sum key and words times odd numbers, modulo 2^64: a change in any one word changes it."""
        return (words[:, :-1] * self._multipliers[:-1]).sum(1) + (keys + 1) * self._multipliers[-1]


def _append(file: BinaryIO, values: Tensor) -> None:
    file.write(values.contiguous().view(torch.uint8).numpy().data)
    file.flush()


def _lock(file: BinaryIO) -> None:
    try:
        import fcntl
    except ImportError:  # Windows has no such locks; rows that two processes mix up there do not fit their checksums.
        return
    fcntl.flock(file, fcntl.LOCK_EX)

"""WebDataset shards: tar files in which files of one name but different endings make a sample.

A tar file is read through once to find where its images begin; then each can be read on its own.
"""

from __future__ import annotations

import json
import tarfile
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path

import torch
from torch import Tensor

from docendo.data.images import shown
from docendo.data.sources.folder import image_endings
from docendo.data.sources.part import Encoded, Found, Part, PartName, Piece
from docendo.data.sources.shards import by_part, lines_of, numbered_classes, sizes
from docendo.errors import DocendoError

_NAMES = ("classnames.txt", "classes.txt")
_LABELS = ("cls", "json")


@dataclass(frozen=True)
class _Shard:
    path: Path
    names: tuple[str, ...]  # of the images
    places: Tensor  # (N, 2), int64: where each begins, and its bytes
    labels: Tensor


@dataclass(frozen=True, eq=False, repr=False)
class TarPart(Part):
    """Samples of tar files, one file after the other.

    Attributes:
        shards: the files.
        labels: (N,), int64.
    """

    shards: tuple[_Shard, ...]
    labels: Tensor

    @cached_property
    def _ends(self) -> list[int]:
        return list(accumulate(len(shard.names) for shard in self.shards))

    def _find(self, row: int) -> tuple[_Shard, int]:
        number = bisect_right(self._ends, row)
        shard = self.shards[number]
        return shard, row - self._ends[number] + len(shard.names)

    def encoded(self, rows: Tensor) -> Iterator[Encoded]:
        """Give where the images are; see `Part`."""
        for shard, own in map(self._find, rows.tolist()):
            offset, size = shard.places[own].tolist()
            yield Piece(str(shard.path), offset, size)

    def where(self, row: int) -> str:
        """Give a file and a name in it; see `Part`."""
        shard, own = self._find(row)
        return f"{shard.path} {shard.names[own]}"

    def listing(self) -> Iterable[str]:
        """Name the files with their sizes in bytes; see `Part`."""
        return sizes(shard.path for shard in self.shards)


def tar(path: Path) -> Found:
    """Open tar files: one, or all in a folder, whose names say which are for training, validation and test.

    A sample is KEY.jpg (or .png, .webp, ...) with its label beside it, a whole number: KEY.cls, or KEY.json that is one
    or has one called "label" or "cls". Class names are the lines of classnames.txt or classes.txt in the folder, else
    labels are their own names.

    Raises:
        DocendoError: a file is damaged or no plain tar, or a sample lacks its image or its label.
    """
    paths, notes = by_part(path, ".tar")
    parts: dict[PartName, Part] = {}
    for part, files in paths.items():
        found = tuple(_index(file) for file in files)
        if not sum(len(shard.names) for shard in found):
            raise DocendoError(f"{', '.join(map(str, files))}: there are no images")
        parts[part] = TarPart(found, torch.cat([shard.labels for shard in found]))
    classes = _class_names(path if path.is_dir() else path.parent)
    return Found(
        name=path.resolve().name.removesuffix(".tar"),
        classes=classes or numbered_classes(parts["train"]),
        parts=parts,
        notes=notes,
    )


def _class_names(folder: Path) -> tuple[str, ...]:
    return next((tuple(lines_of(folder / name)) for name in _NAMES if (folder / name).is_file()), ())


def _index(path: Path) -> _Shard:
    endings = image_endings()
    images: dict[str, tuple[str, int, int]] = {}
    labels: dict[str, int] = {}
    try:
        with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as members:
            while (member := members.next()) is not None:
                members.members.clear()  # type: ignore[attr-defined]  # it would remember all of them
                if not member.isfile():
                    continue
                folder, _, name = member.name.rpartition("/")
                key, _, ending = name.partition(".")
                key = f"{folder}/{key}"
                if f".{ending.lower()}" in endings:
                    if key in images:
                        raise DocendoError(f"{path} has two images of one name: {images[key][0]}, {member.name}")
                    images[key] = (member.name, member.offset_data, member.size)
                elif ending in _LABELS:
                    file.seek(member.offset_data)
                    labels[key] = _label(file.read(member.size), f"{path} {member.name}")
    except tarfile.TarError as error:
        raise DocendoError(f"{path} is not a plain tar file, or a damaged one: {error}") from error
    for key, (name, _, _) in images.items():
        if key not in labels:
            raise DocendoError(f"{path} {name} has no label beside it: add one called {key.lstrip('/')}.cls")
    return _Shard(
        path,
        tuple(name for name, _, _ in images.values()),
        torch.tensor([place for _, *place in images.values()], dtype=torch.int64).view(-1, 2),
        torch.tensor([labels[key] for key in images], dtype=torch.int64),
    )


def _label(content: bytes, where: str) -> int:
    try:
        value = json.loads(content)
        if isinstance(value, dict):
            value = next(value[name] for name in ("label", "cls") if name in value)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    except (ValueError, StopIteration):
        pass
    raise DocendoError(f"{shown(where)} holds no label: it must be a whole number, in JSON one called label or cls")

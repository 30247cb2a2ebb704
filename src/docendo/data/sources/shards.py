"""What Parquet files and tar files have in common: a data set in several files, whose names say what they are for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from docendo.data.images import shown
from docendo.data.sources.folder import PART_NAMES
from docendo.data.sources.part import Part, PartName
from docendo.errors import DocendoError


def shards(path: Path, ending: str) -> list[Path]:
    """List the files of an ending in a folder, or else in folders in it: `data`, or one for each part."""
    inner = ["data", *PART_NAMES]
    return sorted(path.glob(f"*{ending}")) or sorted(one for name in inner for one in path.glob(f"{name}/*{ending}"))


def by_part(path: Path, ending: str) -> tuple[dict[PartName, list[Path]], tuple[str, ...]]:
    """Sort files by the first of the words train, test, val, valid or validation in their names or their folder's.

    Args:
        path: a file, or a folder with some.
        ending: of the files' names.

    Returns:
        The files of each part, and notes about those that are not used. Where no name has such a word all files are
        for training.

    Raises:
        DocendoError: none is for training.
    """
    if path.is_file():
        return {"train": [path]}, ()
    files = shards(path, ending)
    parts: dict[PartName, list[Path]] = {}
    others = []
    for file in files:
        words = re.split(r"[^a-z]+", file.relative_to(path).as_posix().casefold())
        part = next((PART_NAMES[word] for word in words if word in PART_NAMES), None)
        if part is None:
            others.append(file)
        else:
            parts.setdefault(part, []).append(file)
    if not parts:
        return {"train": files}, ()
    if "train" not in parts:
        names = ", ".join(file.name for some in parts.values() for file in some)
        raise DocendoError(f"{path} holds {names}, but no train-*{ending}")
    return parts, tuple(f"{file.name} is not used: its name says neither train nor val nor test" for file in others)


def sizes(files: Iterable[Path]) -> Iterator[str]:
    """Name files with their sizes in bytes: what stands for their pixels, which are not read."""
    return (f"{file.name} {file.stat().st_size}" for file in files)


def numbered_classes(train: Part) -> tuple[str, ...]:
    """Let labels be the names of their classes.

    Raises:
        DocendoError: they do not look like numbers of classes.
    """
    largest, row = (int(value) for value in train.labels.max(0))
    if largest >= len(train.labels):
        raise DocendoError(
            f"{train.where(row)} has label {largest}, but there are only {len(train.labels)} training images: number "
            "the classes 0, 1, 2, ..."
        )
    return tuple(str(label) for label in range(largest + 1))


def lines_of(path: Path) -> list[str]:
    """Read the lines of a text file.

    Raises:
        DocendoError: it is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise DocendoError(f"{path} is not text in UTF-8: {error.reason} at byte {error.start}") from error


def clumped(part: Part, mixed: int) -> Iterable[str]:
    """Warn if images that are streamed in their order, mixed only so many at a time, lie sorted by class."""
    labels = part.labels
    repeats = float((labels[1:] == labels[:-1]).double().mean()) if len(labels) > 1 else 0.0
    if mixed < len(labels) and repeats > 0.5 and int(labels.max()) > 1:
        yield (
            f"images lie sorted by class from {shown(part.where(0))} on, and streaming mixes only about {mixed} of "
            "them at a time: write them in random order, or keep them in memory (--set data.memory=device)"
        )

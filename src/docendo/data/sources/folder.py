"""A folder of class folders, or train/, val/ and test/ of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from docendo.data.images import shown
from docendo.data.sources.part import Encoded, Found, Part, PartName
from docendo.errors import DocendoError

PART_NAMES: Mapping[str, PartName] = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}
_LAYOUT = "expected a folder for each class with its images, or train/, val/, test/ of class folders"


@dataclass(frozen=True, eq=False, repr=False)
class FolderPart(Part):
    """Image files.

    Attributes:
        folder: where they are.
        files: their paths in it.
        labels: (N,), int64.
    """

    folder: Path
    files: tuple[str, ...]
    labels: Tensor

    def encoded(self, rows: Tensor) -> Iterator[Encoded]:
        """Give paths; see `Part`."""
        return map(self.where, rows.tolist())

    def where(self, row: int) -> str:
        """Give the path of a file; see `Part`."""
        return str(self.folder / self.files[row])

    def listing(self) -> Iterable[str]:
        """Name the files with their sizes in bytes; see `Part`."""
        return (f"{name} {self._size(name)}" for name in self.files)

    def _size(self, name: str) -> int:
        try:
            return os.stat(self.folder / name).st_size
        except OSError:  # a link to nowhere: whoever needs that image will say so
            return -1


def folder(path: Path) -> Found:
    """Find the images of a folder.

    Class names are the names of the class folders, sorted; images are the files in them, at any depth, whose names end
    as one of Pillow's formats does. Names that begin with a dot are left out.

    Raises:
        DocendoError: there are no images, a class has none, or the parts have different classes.
    """
    inside = _folders(path)
    own_parts: dict[PartName, Path] = {}
    for name in inside:
        part = PART_NAMES.get(name.casefold())
        if part in own_parts:
            raise DocendoError(f"{path} holds both {own_parts[part].name}/ and {name}/: keep one of them")
        if part is not None:
            own_parts[part] = path / name
    if "train" in own_parts:
        classes = _classes(own_parts["train"])
        for own in own_parts.values():
            _same_classes(classes, own_parts["train"], _classes(own), own)
    elif inside and len(own_parts) == len(inside):
        raise DocendoError(f"{path} holds {'/, '.join(inside)}/, but no train/: {_LAYOUT}")
    else:
        own_parts = {"train": path}
        classes = _classes(path)
    return Found(
        name=path.resolve().name,
        classes=classes,
        parts={part: class_part(own, classes) for part, own in own_parts.items()},
    )


def has_class_folders(path: Path) -> bool:
    """Say whether `folder` would find classes in a folder or in its train/, val/ and test/."""
    inside = _folders(path)
    others = [name for name in inside if name.casefold() not in {"data", *PART_NAMES}]
    return len(others) > 1 or any(_folders(path / name) for name in inside if name not in others)


def _folders(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _classes(path: Path) -> tuple[str, ...]:
    classes = tuple(_folders(path))
    if not classes:
        what = "holds no class folders" if any(path.iterdir()) else "is empty"
        raise DocendoError(f"{path} {what}: {_LAYOUT}")
    for name in classes:
        if shown(name) != name:
            raise DocendoError(f"the name of the class folder {path}/{shown(name)} is not valid Unicode: rename it")
    if len(classes) == 1:
        raise DocendoError(f'{path} has one class folder, "{classes[0]}", and nothing to tell it from: {_LAYOUT}')
    return classes


def _same_classes(classes: tuple[str, ...], first: Path, others: tuple[str, ...], second: Path) -> None:
    for here, there, missing in (
        (first, second, sorted(set(classes) - set(others))),
        (second, first, sorted(set(others) - set(classes))),
    ):
        if missing:
            names = ", ".join(f'"{name}"' for name in missing[:5]) + (", ..." if len(missing) > 5 else "")
            raise DocendoError(
                f"{first} has {len(classes)} classes and {second} has {len(others)}, but they must have the same: "
                f"{names} only in {here}, not in {there}"
            )


def image_endings() -> frozenset[str]:
    """Give the ends of the names of image files, such as ".png"."""
    return frozenset(ending for ending, name in Image.registered_extensions().items() if name in Image.OPEN)


def class_part(path: Path, classes: tuple[str, ...]) -> FolderPart:
    """Find the images of each class in the folder of its name.

    Raises:
        DocendoError: a class has none.
    """
    endings = image_endings()
    files: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        own = _images(path, name, endings)
        if not own:
            raise DocendoError(
                f"{path / name} holds no images, at least none whose names end as an image's do (.jpg, .png, .webp, "
                "...): add some, or remove the folder"
            )
        files += own
        labels += [label] * len(own)
    return FolderPart(path, tuple(files), torch.tensor(labels))


def _images(path: Path, class_name: str, endings: frozenset[str]) -> list[str]:
    top = os.path.realpath(path / class_name)
    above = {str(one) for one in (path.resolve(), *path.resolve().parents)}
    if top in above:
        raise DocendoError(f"{path / class_name} is a link to {top}, in which it lies: remove it")
    found = []
    # Linked folders are followed, but none twice, and none to what this one lies in.
    seen = {top, *above, *map(str, Path(top).parents)}
    for parent, folders, names in os.walk(path / class_name, followlinks=True):
        folders[:] = [name for name in sorted(folders) if not name.startswith(".") and _first_visit(parent, name, seen)]
        inside = os.path.relpath(parent, path)
        found += [
            os.path.join(inside, name)
            for name in names
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in endings
        ]
    return sorted(found)


def _first_visit(parent: str, name: str, seen: set[str]) -> bool:
    real = os.path.realpath(os.path.join(parent, name))
    new = real not in seen
    seen.add(real)
    return new

"""ImageNet (class folders of the 2012 challenge) and Tiny ImageNet (CS231n's layout), unpacked by the user."""

from __future__ import annotations

import os
import re
from pathlib import Path

import torch

from docendo.data.settings import DataSettings
from docendo.data.sources.folder import FolderPart, class_part, folder
from docendo.data.sources.part import Found
from docendo.data.sources.published import DEFAULT_ROOT
from docendo.data.sources.shards import lines_of
from docendo.errors import DocendoError

_NAMES = ("LOC_synset_mapping.txt", "synset_words.txt", "words.txt")


def imagenet(settings: DataSettings) -> Found:
    """Open ImageNet: train/ and val/ with a folder for each WordNet id; labels are the places of the sorted ids.

    Class names come from one of LOC_synset_mapping.txt, synset_words.txt and words.txt beside those two folders, where
    each line is an id and its names; else ids are names.

    Raises:
        DocendoError: it is not there, or not laid out so.
    """
    path = _found(settings, "imagenet", "train/ and val/ with a folder for each class (see image-net.org)")
    found = folder(path)
    return Found(
        name="imagenet",
        classes=_names(path, found.classes),
        parts={name: part for name, part in found.parts.items() if name != "test"},
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    )


def tiny_imagenet(settings: DataSettings) -> Found:
    """Open Tiny ImageNet: 200 classes of 64x64 images; labels are the places of the sorted WordNet ids.

    The images of val/ serve as the test; those of test/ have no labels.

    Raises:
        DocendoError: it is not there, or not laid out as it was published.
    """
    path = _found(settings, "tiny-imagenet-200", "what http://cs231n.stanford.edu/tiny-imagenet-200.zip holds")
    annotations = path / "val" / "val_annotations.txt"
    for file in (path / "wnids.txt", annotations):
        if not file.is_file():
            raise DocendoError(
                f"there is no {file}: unpack tiny-imagenet-200.zip again; if its images were moved into class folders, "
                f"give the folder itself (--data {path})"
            )
    ids = tuple(sorted(lines_of(path / "wnids.txt")))
    label = {one: i for i, one in enumerate(ids)}
    lines = [line.split("\t")[:2] for line in lines_of(annotations)]
    if unknown := next((line for line in lines if len(line) < 2 or line[1] not in label), None):
        raise DocendoError(f"{annotations} has the line {' '.join(unknown)!r}, but wnids.txt no such class")
    files = tuple(os.path.join("images", name) for name, _ in lines)
    return Found(
        name="tiny-imagenet",
        classes=_names(path, ids),
        parts={
            "train": class_part(path / "train", ids),
            "val": FolderPart(path / "val", files, torch.tensor([label[one] for _, one in lines])),
        },
        image_size=64,
        # As published with most results on it.
        mean=(0.4802, 0.4481, 0.3975),
        std=(0.2770, 0.2691, 0.2821),
    )


def _found(settings: DataSettings, inside: str, what: str) -> Path:
    root = Path(settings.root or DEFAULT_ROOT).expanduser()
    for path in (root / inside, root):
        if (path / "train").is_dir():
            return path
    raise DocendoError(
        f"{settings.name} is neither in {root / inside} nor in {root}, and cannot be fetched from here: get {what}, "
        "and name the folder that holds it with --root"
    )


def _names(path: Path, ids: tuple[str, ...]) -> tuple[str, ...]:
    for file in _NAMES:
        if (path / file).is_file():
            pairs = (re.split(r"\s+", line.strip(), maxsplit=1) for line in lines_of(path / file))
            names = {pair[0]: pair[-1] for pair in pairs}
            return tuple(names.get(one, one) for one in ids)
    return ids

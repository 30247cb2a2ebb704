"""From the name of a data set to its source."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from docendo.data.images import read_image
from docendo.data.settings import DataSettings
from docendo.data.sources.folder import folder, has_class_folders
from docendo.data.sources.part import Found
from docendo.data.sources.shards import shards
from docendo.data.sources.tar import tar
from docendo.errors import DocendoError, nearest

BUILT_IN = ("digits", "cifar10", "cifar100", "svhn", "mnist", "fashion-mnist", "tiny-imagenet", "imagenet")


def find(settings: DataSettings) -> Found:
    """Open a built-in data set, or the one at a path.

    Raises:
        DocendoError: there is none of that name, or it cannot be read.
    """
    path = Path(settings.name).expanduser()
    if settings.name not in BUILT_IN and not path.exists():
        raise _unknown(settings.name)
    try:
        return _built_in(settings) if settings.name in BUILT_IN else _at(path)
    except OSError as error:
        raise DocendoError(f"cannot read {error.filename or path}: {error.strerror or error}") from error


def _built_in(settings: DataSettings) -> Found:
    # Sources are imported when they are asked for: scikit-learn and torchvision take seconds.
    if settings.name == "digits":
        from docendo.data.sources.digits import digits

        return digits()
    from docendo.data.sources.imagenet import imagenet, tiny_imagenet
    from docendo.data.sources.published import published

    return {"imagenet": imagenet, "tiny-imagenet": tiny_imagenet}.get(settings.name, published)(settings)


def _at(path: Path) -> Found:
    if path.is_dir() and not shards(path, ".parquet"):
        # Archives often stay beside the folders that came out of them.
        return tar(path) if shards(path, ".tar") and not has_class_folders(path) else folder(path)
    if path.suffix == ".tar":
        return tar(path)
    with _pyarrow_for(path):
        from docendo.data.sources.parquet import parquet
    return parquet(path)


def image_at(name: str | Path, short_side: int | None = None) -> Image.Image:
    """Decode the image in a file, or in a row of a Parquet file: "FILE.parquet#ROW", rows counted from 0.

    Args:
        name: which.
        short_side: as in `docendo.data.read_image`.

    Raises:
        DocendoError: there is none, or it cannot be read.
    """
    path = Path(name).expanduser()
    row = re.fullmatch(r"(.+\.parquet)(?:#(\d*))?", str(path))
    if row is None or (path.exists() and row[2] is not None):
        return read_image(path, short_side=short_side)
    if not row[2]:
        raise DocendoError(f"{name} names no image: give a row of the file after #, such as {row[1]}#0")
    path = Path(row[1])
    with _pyarrow_for(path):
        from docendo.data.sources.parquet_file import image_in_row
    return image_in_row(path, int(row[2]), short_side)


@contextmanager
def _pyarrow_for(path: Path) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "pyarrow":
            raise
        raise DocendoError(f'{path}: to read Parquet files, pip install "docendo[parquet]"') from error


def _unknown(name: str) -> DocendoError:
    path = Path(name).expanduser()
    if path.name == name:
        return DocendoError(
            f'no data set is called "{name}", and there is no such folder or file; {nearest(name, BUILT_IN)}'
        )
    if not path.parent.is_dir():
        return DocendoError(f"there is no {path}: its folder {path.parent} does not exist either")
    beside = sorted(entry.name for entry in path.parent.iterdir())
    return DocendoError(f"there is no {path}; {nearest(path.name, beside)}")

"""CIFAR-10 and CIFAR-100 (Krizhevsky, 2009) in torchvision's layout: 50,000 training and 10,000 test images, 32x32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torchvision.datasets import CIFAR10, CIFAR100

from docendo.data.settings import DataSettings
from docendo.data.sources.part import ArrayPart, Found
from docendo.errors import DocendoError

DEFAULT_ROOT = "~/.cache/docendo"

# As published with most results on these sets: mean and standard deviation of the training pixels.
_CONSTANTS = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
}


def cifar(settings: DataSettings) -> Found:
    """Read CIFAR-10 or CIFAR-100, after fetching it if that was asked for.

    Raises:
        DocendoError: it is not there, damaged, or cannot be fetched.
    """
    root = Path(settings.root or DEFAULT_ROOT).expanduser()
    reader = CIFAR10 if settings.name == "cifar10" else CIFAR100
    folder = root / reader.base_folder
    if settings.download:
        _download(reader, root)
    elif not folder.is_dir():
        raise DocendoError(
            f"{settings.name} is not in {folder}: add --download (download=True) to fetch it, or name the folder that "
            f"holds {reader.base_folder} with --root"
        )
    try:
        train, test = (reader(str(root), train=train) for train in (True, False))
    except (RuntimeError, OSError) as error:
        raise DocendoError(
            f"{settings.name} in {folder} is incomplete or damaged (checksums differ): delete that folder and add "
            "--download (download=True)"
        ) from error
    mean, std = _CONSTANTS[settings.name]
    return Found(
        name=settings.name,
        classes=tuple(train.classes),
        parts={"train": _part(f"{settings.name} train", train), "test": _part(f"{settings.name} test", test)},
        image_size=32,
        mean=mean,
        std=std,
    )


def _download(reader: Any, root: Path) -> None:
    try:
        reader(str(root), download=True)
    except (RuntimeError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DocendoError(
            f"could not fetch {reader.url} into {root} ({reason}): check the connection, or unpack the archive there"
        ) from error


def _part(name: str, data: Any) -> ArrayPart:
    return ArrayPart(name, torch.from_numpy(data.data).contiguous(), torch.tensor(data.targets))

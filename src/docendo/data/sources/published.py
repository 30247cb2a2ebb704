"""Published sets in torchvision's layout: CIFAR, SVHN, MNIST and Fashion-MNIST."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from docendo.data.settings import DataSettings
from docendo.data.sources.part import ArrayPart, Found
from docendo.errors import DocendoError

DEFAULT_ROOT = "~/.cache/docendo"
_DIGITS = tuple("0123456789")


@dataclass(frozen=True)
class _Published:
    reader: str  # of torchvision, which takes a second to import
    inside: str  # what is in the root when the set is there
    image_size: int
    # As published with most results on these sets: mean and standard deviation of the training pixels.
    mean: tuple[float, ...]
    std: tuple[float, ...]
    classes: tuple[str, ...] | None = None  # None: the reader knows
    flip: bool = True


_SETS = {
    "cifar10": _Published("CIFAR10", "cifar-10-batches-py", 32, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": _Published("CIFAR100", "cifar-100-python", 32, (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
    "svhn": _Published(
        "SVHN", "train_32x32.mat", 32, (0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970), _DIGITS, flip=False
    ),
    "mnist": _Published("MNIST", "MNIST/raw", 28, (0.1307,), (0.3081,), _DIGITS, flip=False),
    "fashion-mnist": _Published("FashionMNIST", "FashionMNIST/raw", 28, (0.2860,), (0.3530,)),
}


def published(settings: DataSettings) -> Found:
    """Read a published set, after fetching it if that was asked for.

    Raises:
        DocendoError: it is not there, damaged, or cannot be fetched.
    """
    own = _SETS[settings.name]
    root = Path(settings.root or DEFAULT_ROOT).expanduser()
    place = root / own.inside
    if settings.download:
        _download(own, settings.name, root)
    elif not place.exists():
        raise DocendoError(
            f"{settings.name} is not in {place}: add --download to docendo train (download=True) to fetch it, or name "
            f"the folder that holds {own.inside} with --root"
        )
    try:
        train, test = (_read(own, root, part) for part in ("train", "test"))
    except Exception as error:  # damaged files make the readers raise nearly anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DocendoError(
            f"{settings.name} in {place} is incomplete or damaged ({reason}): delete it and add --download to docendo "
            "train (download=True)"
        ) from error
    return Found(
        name=settings.name,
        classes=own.classes or tuple(train.classes),
        parts={"train": _part(f"{settings.name} train", train), "test": _part(f"{settings.name} test", test)},
        channels=len(own.mean),
        image_size=own.image_size,
        flip=own.flip,
        mean=own.mean,
        std=own.std,
    )


def _read(own: _Published, root: Path, part: str, download: bool = False) -> Any:
    from torchvision import datasets

    which: dict[str, Any] = {"split": part} if own.reader == "SVHN" else {"train": part == "train"}
    return getattr(datasets, own.reader)(str(root), **which, download=download)


def _download(own: _Published, name: str, root: Path) -> None:
    try:
        for part in ("train", "test"):
            _read(own, root, part, download=True)
    except (RuntimeError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DocendoError(
            f"could not fetch {name} into {root} ({reason}): check the connection, or put the set's files there as "
            "torchvision lays them out"
        ) from error


def _part(name: str, data: Any) -> ArrayPart:
    pixels = torch.as_tensor(data.data)
    if pixels.ndim == 3:
        pixels = pixels[..., None]
    elif pixels.shape[1] == 3:
        pixels = pixels.permute(0, 2, 3, 1)
    labels = data.targets if hasattr(data, "targets") else data.labels
    return ArrayPart(name, pixels.contiguous(), torch.as_tensor(labels, dtype=torch.int64))

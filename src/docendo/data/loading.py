"""From settings to a data set: find the images, divide them, decide how they are seen, keep or stream them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from docendo.data.augmenting import SMALL, cut_of, mixing_of, varied
from docendo.data.dataset import DataSet
from docendo.data.division import Division, divide
from docendo.data.images import stored_side
from docendo.data.settings import DataSettings
from docendo.data.sources.find import find
from docendo.data.sources.part import Found, Part, PartName, Unreadable
from docendo.data.split import Split
from docendo.data.stores import Memory, Store, Streamed, chunks
from docendo.errors import DocendoError

_LARGE = 224  # pixels: the usual side of what is not small
_FITS = 2**30  # bytes
_IMAGENET = {1: ((0.449,), (0.226,)), 3: ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))}  # by channels


def load(settings: DataSettings) -> DataSet:
    """Find, check and split the images of a data set.

    Images that fit 1 GiB are decoded now (see `DataSettings.memory`), others when they are needed. Images that
    cannot be read stop it, or are left out (see `DataSettings.skip_corrupt`); the others stay in their splits.

    Raises:
        DocendoError: there is no such set, it cannot be read, or it does not allow what the settings ask for.
    """
    found = find(settings)
    _check_channels(found, settings)
    division = divide(found, settings)
    size = settings.image_size or found.image_size or _own_size(found.parts["train"])
    crop_ratio = 8 / 7 if found.image_size is None and size > SMALL else 1.0
    cut = cut_of(settings, found, size)
    used = {share.part: found.parts[share.part] for share in division.shares.values()}
    stores, unreadable = _stores(used, found.channels, size, crop_ratio, settings)
    if any(unreadable.values()):
        division = _without(division, unreadable, sum(len(part.labels) for part in used.values()), settings)
    mean, std = settings.mean, settings.std
    if mean is None or std is None:
        mean, std = _statistics(found, stores["train"], division.offered)
    augmentation = varied(settings, cut, mean)
    splits = {
        name: Split(found.parts[part].labels[rows], rows, stores[part], augmentation, size, mean, std)
        for name, (part, rows) in division.shares.items()
    }
    mixing = mixing_of(settings, len(found.classes))
    splits["train"] = replace(splits["train"], mixing=mixing)
    # What was added later stands here only where it is asked for: fingerprints of other runs stay as they were.
    seen = (found.classes, found.channels, size, crop_ratio, mean, std, augmentation, *([mixing] if mixing else []))
    return DataSet(
        name=found.name,
        classes=found.classes,
        channels=found.channels,
        image_size=size,
        crop_ratio=crop_ratio,
        mean=mean,
        std=std,
        augmentation=augmentation,
        train=splits["train"],
        val=splits.get("val"),
        test=splits["test"],
        notes=(*found.notes, *division.notes, *_streaming_notes(stores["train"])),
        fingerprint=_fingerprint(repr(seen), stores, splits),
    )


def _check_channels(found: Found, settings: DataSettings) -> None:
    if settings.mean is not None and len(settings.mean) != found.channels:
        colours = {1: "grey", 3: "RGB"}[found.channels]
        raise DocendoError(
            f"mean and std have {len(settings.mean)} numbers, but images of {found.name} are {colours}: "
            f"give {found.channels} in each, or null for the set's own"
        )


def _own_size(part: Part) -> int:
    sizes = {image.size for image in part.examples(64, SMALL)}  # larger ones need not be decoded in full
    width, height = sizes.pop() if len(sizes) == 1 else (_LARGE, _LARGE)
    return min(width, height) if min(width, height) >= 4 and max(width, height) <= SMALL else _LARGE


def _stores(
    parts: Mapping[PartName, Part], channels: int, size: int, crop_ratio: float, settings: DataSettings
) -> tuple[dict[PartName, Store], dict[PartName, Unreadable]]:
    side = stored_side(size, crop_ratio)
    weight = sum(len(part.labels) for part in parts.values()) * channels * side**2
    if settings.memory == "stream" or (settings.memory == "auto" and weight > _FITS):
        streams: dict[PartName, Store] = {
            name: Streamed(part, channels, crop_ratio, settings.workers) for name, part in parts.items()
        }
        return streams, {name: part.unreadable() for name, part in parts.items() if settings.skip_corrupt}
    decoded = {name: part.decode(channels, side) for name, part in parts.items()}
    memories: dict[PartName, Store] = {name: Memory(pixels, parts[name]) for name, (pixels, _) in decoded.items()}
    return memories, {name: bad for name, (_, bad) in decoded.items()}


def _without(
    division: Division, unreadable: Mapping[PartName, Unreadable], total: int, settings: DataSettings
) -> Division:
    """Leave images out of a division, or refuse to.

    Raises:
        DocendoError: nobody said that images may be left out, or a split would be empty.
    """
    messages = [message for bad in unreadable.values() for message in bad.values()]
    more = f"; and {len(messages) - 3} more" if len(messages) > 3 else ""
    which = f"{len(messages)} of {total} images: {'; '.join(messages[:3])}{more}"
    if not settings.skip_corrupt:
        raise DocendoError(
            f"cannot read {which}. Repair or remove them, or go on without them by --skip-corrupt (skip_corrupt=True)"
        )
    left = division.without({part: torch.tensor(list(bad), dtype=torch.int64) for part, bad in unreadable.items()})
    for name, share in left.shares.items():
        if not len(share.rows):
            raise DocendoError(f"no image of the {name} split can be read: {which}")
    return replace(left, notes=(*left.notes, f"left out what cannot be read, {which}"))


def _streaming_notes(store: Store) -> Iterable[str]:
    return store.part.streaming_notes() if isinstance(store, Streamed) else ()


def _statistics(found: Found, store: Store, rows: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if found.mean is not None and found.std is not None:
        return found.mean, found.std
    if not isinstance(store, Memory):
        return _IMAGENET[found.channels]
    total = squares = torch.zeros(found.channels, dtype=torch.int64)
    for some in chunks(rows, 1024):
        pixels = store.pixels[some].to(torch.int32).flatten(0, 2)
        total = total + pixels.sum(0)
        squares = squares + pixels.square().sum(0)
    count = len(rows) * store.pixels.shape[1] * store.pixels.shape[2] * 255
    mean = total.double() / count
    std = (squares.double() / (count * 255) - mean.square()).clamp(min=0).sqrt()
    # A channel that never changes carries nothing, but must not divide by zero.
    return tuple(mean.tolist()), tuple(value or 1.0 for value in std.tolist())


def _fingerprint(seen: str, stores: Mapping[PartName, Store], splits: Mapping[PartName, Split]) -> str:
    digest = hashlib.blake2b(seen.encode(), digest_size=16)
    for part in sorted(stores):
        digest.update(part.encode())
        for piece in stores[part].content():
            digest.update(piece)
    for name in sorted(splits):
        digest.update(f"{name} {len(splits[name])}".encode())
        for numbers in (splits[name].labels, splits[name].rows):
            digest.update(numbers.numpy().data)
    return digest.hexdigest()

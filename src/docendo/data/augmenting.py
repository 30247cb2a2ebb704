"""From settings to augmentations: how images are cut, what is then done to them, and with what they are mixed."""

from __future__ import annotations

from docendo.data.crops import ResizedCrop
from docendo.data.cutout import Cutout
from docendo.data.mixing import Mixing
from docendo.data.randaugment import RandAugment
from docendo.data.settings import DataSettings
from docendo.data.sources.part import Found
from docendo.data.varied import Change, Varied
from docendo.data.views import Augmentation, NoAugmentation, Shift
from docendo.errors import DocendoError

SMALL = 64
"""Pixels: up to here images are shifted, above they are cropped."""


def cut_of(settings: DataSettings, found: Found, size: int) -> Augmentation:
    """Say how training images are cut to size.

    Args:
        settings: what the user wants.
        found: the images.
        size: their side in pixels.

    Raises:
        DocendoError: settings that do not go together, or not with images of this size.
    """
    cut = _cut(settings, found, size)
    _check_changes(settings, cut, size)
    return cut


def _cut(settings: DataSettings, found: Found, size: int) -> Augmentation:
    kind = settings.augment
    if kind == "auto":
        shifts = found.image_size is not None or size <= SMALL
        kind = "resized_crop" if not shifts else "shift_flip" if found.flip else "shift"
    if kind in ("none", "resized_crop") and settings.pad is not None:
        raise DocendoError(
            f'pad={settings.pad} says how far views are shifted, but augment="{kind}" shifts none: leave pad out, '
            'or give augment="shift" or "shift_flip"'
        )
    if kind == "resized_crop":
        return ResizedCrop() if settings.smallest_crop is None else ResizedCrop(scale=(settings.smallest_crop, 1.0))
    if settings.smallest_crop is not None:
        raise DocendoError(
            f'smallest_crop={settings.smallest_crop} says how small crops are, but augment="{kind}" crops none: leave '
            'smallest_crop out, or give augment="resized_crop"'
        )
    if kind == "none":
        return NoAugmentation()
    pad = size // 8 if settings.pad is None else settings.pad
    if settings.pad_mode == "reflect" and pad >= size:
        raise DocendoError(f"pad={pad} pixels cannot be mirrored out of an image of {size}: give less than {size}")
    return Shift(pad, kind == "shift_flip", settings.pad_mode)


def _check_changes(settings: DataSettings, cut: Augmentation, size: int) -> None:
    if settings.cutout is not None and settings.cutout >= size:
        raise DocendoError(f"cutout={settings.cutout} may hide all of an image of {size} pixels: give less than {size}")
    changes = settings.cutout is not None or settings.randaugment is not None
    if settings.pool is not None and not changes and cut.count is not None and settings.pool >= cut.count:
        views = "1 view" if cut.count == 1 else f"{cut.count} views"
        raise DocendoError(
            f"pool={settings.pool} limits nothing, as each image has {views}: leave pool out, or give less"
        )


def varied(settings: DataSettings, cut: Augmentation, mean: tuple[float, ...]) -> Augmentation | Varied:
    """Add to a cut what the settings ask for besides.

    Args:
        settings: what the user wants.
        cut: how images are cut.
        mean: of each channel, in [0, 1]; the colour of what is cut out.
    """
    changes: list[Change] = []
    if settings.randaugment is not None:
        changes.append(RandAugment(*settings.randaugment))
    if settings.cutout is not None:
        changes.append(Cutout(settings.cutout, tuple(min(max(round(255 * level), 0), 255) for level in mean)))
    return Varied(cut, tuple(changes), settings.pool) if changes or settings.pool is not None else cut


def mixing_of(settings: DataSettings, classes: int) -> Mixing | None:
    """Say how training images of so many classes are mixed; None: not at all."""
    if settings.mixup is None and settings.cutmix is None:
        return None
    return Mixing(classes, settings.mixup or 0.0, settings.cutmix or 0.0)

"""Which images train, which choose, which test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from docendo.data.seeds import generator
from docendo.data.settings import DataSettings
from docendo.data.sources.part import Found, PartName
from docendo.data.stratify import hold_out, subset
from docendo.errors import DocendoError

_TEST_SHARE = 0.2


class Share(NamedTuple):
    """The images of a split: these rows of that part."""

    part: PartName
    rows: Tensor


@dataclass(frozen=True)
class Division:
    """A data set divided.

    Attributes:
        shares: what each split gets; without "val" if there is no validation.
        offered: rows of the part "train" from which training and validation images were drawn.
        notes: sentences that the user should read.
    """

    shares: Mapping[PartName, Share]
    offered: Tensor
    notes: tuple[str, ...]

    def without(self, rows: Mapping[PartName, Tensor]) -> Division:
        """Leave some rows of parts out."""

        def kept(part: PartName, own: Tensor) -> Tensor:
            return own[~torch.isin(own, rows[part])] if part in rows else own

        shares = {name: Share(part, kept(part, own)) for name, (part, own) in self.shares.items()}
        return replace(self, shares=shares, offered=kept("train", self.offered))


def divide(found: Found, settings: DataSettings) -> Division:
    """Split what a source found.

    Test images are drawn only where the source has neither a test nor a validation part, always the same ones;
    validation images, by `split_seed`, only where it does not have both.

    Raises:
        DocendoError: a label has no class, there is only one class, or one has too few images.
    """
    _check_labels(found)
    labels = found.parts["train"].labels
    draws_test = not {"val", "test"} & set(found.parts)
    draws_val = settings.validation > 0 and not {"val", "test"} <= set(found.parts)
    absent = _check_counts(found, draws_test, draws_val)

    shares: dict[PartName, Share] = {}
    notes = [f"no training image shows {_quoted(absent)}"] if absent else []
    rows = torch.arange(len(labels))
    if draws_test:
        rows, test = hold_out(labels, rows, _TEST_SHARE, generator("test"))
        shares["test"] = Share("train", test)
        notes.append(
            f"there is no test set: {len(test)} of {len(labels)} images, the same always, were set aside as one"
        )
    elif "test" in found.parts:
        shares["test"] = _whole(found, "test")
    else:
        shares["test"] = _whole(found, "val")
        notes.append("there is no test set: the validation images serve as one")
    offered = rows
    if draws_val:
        rows, val = hold_out(labels, rows, settings.validation, generator("validation", settings.split_seed))
        shares["val"] = Share("train", val)
    elif settings.validation > 0:
        shares["val"] = _whole(found, "val")
    if settings.train_images is not None:
        rows = _fewer(labels, rows, settings)
    shares["train"] = Share("train", rows)
    return Division(shares, offered, tuple(notes))


def _whole(found: Found, part: PartName) -> Share:
    return Share(part, torch.arange(len(found.parts[part].labels)))


def _check_labels(found: Found) -> None:
    last = len(found.classes) - 1
    for part in found.parts.values():
        wrong = ((part.labels < 0) | (part.labels > last)).nonzero()
        if len(wrong):
            row = int(wrong[0])
            more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
            raise DocendoError(
                f"{part.where(row)} has label {int(part.labels[row])}{more}, but the {last + 1} classes have labels "
                f"0 to {last}: correct the labels, or the names of the classes"
            )


def _check_counts(found: Found, draws_test: bool, draws_val: bool) -> list[str]:
    counts = torch.bincount(found.parts["train"].labels, minlength=len(found.classes)).tolist()
    present = [name for name, count in zip(found.classes, counts, strict=True) if count]
    if len(present) < 2:
        raise DocendoError(
            f"all training images of {found.name} show one class, {_quoted(present)}: give at least 2 classes"
        )
    uses = ["training", *["validation"] * draws_val, *["test"] * draws_test]
    for name, count in zip(found.classes, counts, strict=True):
        if 0 < count < len(uses):
            cure = ", or set validation=0" if draws_val else ""
            raise DocendoError(
                f'class "{name}" of {found.name} has {count} image{"s" * (count > 1)}, but {len(uses)} are needed, one '
                f"each for {' and '.join(uses)}: add images{cure}"
            )
    return [name for name, count in zip(found.classes, counts, strict=True) if not count]


def _quoted(names: list[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _fewer(labels: Tensor, rows: Tensor, settings: DataSettings) -> Tensor:
    size, classes = settings.train_images or 0, int(torch.bincount(labels[rows]).count_nonzero())
    if not classes <= size <= len(rows):
        raise DocendoError(
            f"train_images={size}: give at least {classes}, one for each class, and at most {len(rows)}, all that "
            "there are for training"
        )
    return subset(labels, rows, size, generator("train_images", settings.split_seed))

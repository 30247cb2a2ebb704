"""Which images, how large, how split, how augmented."""

from __future__ import annotations

import math
from typing import Literal

import pydantic
from pydantic import Field

from docendo.errors import DocendoError


class DataSettings(pydantic.BaseModel, extra="forbid", frozen=True):
    """What `load` needs to know.

    Raises:
        DocendoError: a number is out of its range.
    """

    name: str = Field(
        "digits",
        description="digits, cifar10, cifar100, svhn, mnist, fashion-mnist, tiny-imagenet, imagenet, or a path: a "
        "folder of class folders, Parquet or WebDataset (.tar) files, or a folder of them",
    )
    root: str | None = Field(None, description='where named sets but digits live; default "~/.cache/docendo"')
    download: bool = Field(
        False, description="fetch the set if it is not there yet: cifar10, cifar100, svhn, mnist, fashion-mnist"
    )
    image_size: int | None = Field(
        None,
        description="side in pixels, at least 4; default the set's own, as digits 8 and cifar 32; small images of one "
        "size as they are; else 224",
    )
    validation: float = Field(
        0.1,
        description="fraction of the training images kept for validation, in [0, 0.5]; 0 for none; a set that has its "
        "own validation and test images keeps them",
    )
    split_seed: int = Field(
        0,
        description="draws the validation images, apart from the run's seed, so that a teacher trained with another "
        "seed has not seen them",
    )
    train_images: int | None = Field(
        None, description="use only so many training images, the same share of every class; default all"
    )
    augment: Literal["auto", "none", "shift", "shift_flip", "resized_crop"] = Field(
        "auto",
        description="random views for training: shift (pad and crop), with flips, or a crop of random size; auto: "
        "digits, svhn and mnist shift, other images up to 64 pixels shift_flip, larger ones resized_crop",
    )
    pad: int | None = Field(
        None, description="how many pixels shift moves at most; default an eighth of the image size"
    )
    pad_mode: Literal["zero", "reflect"] = Field(
        "zero", description="what shift moves in: black, or the mirrored image"
    )
    smallest_crop: float | None = Field(
        None,
        description="smallest share of the image that resized_crop cuts out, above 0 and at most 1; default 0.25",
    )
    randaugment: tuple[int, ...] | None = Field(
        None,
        description="then do so many operations to each view, of this magnitude from 0 to 30: 2,9; default none",
    )
    cutout: int | None = Field(
        None, description="then hide a square of this side in pixels, by the mean colour; default none"
    )
    pool: int | None = Field(
        None,
        description="how many views of an image there are, the same in all runs, so that a frozen teacher's answers to "
        "them can be remembered; default without end, or all that shift has",
    )
    mixup: float | None = Field(
        None, description="blend each training image and its label with another's, by Beta(mixup, mixup); default not"
    )
    cutmix: float | None = Field(
        None,
        description="put a box of another into each training image, by Beta(cutmix, cutmix); default not; with mixup "
        "each batch tosses a coin",
    )
    mean: tuple[float, ...] | None = Field(
        None,
        description="what is subtracted from each channel of images from 0 to 1; default the set's own as published, "
        "or as computed, or ImageNet's where images are streamed",
    )
    std: tuple[float, ...] | None = Field(None, description="what each channel is then divided by; default likewise")
    memory: Literal["auto", "device", "stream"] = Field(
        "auto",
        description="keep all images on the device, or stream them from their files; auto: on the device up to 1 GiB",
    )
    workers: int = Field(2, description="processes that decode streamed images; 0: none besides the main one")

    skip_corrupt: bool = Field(
        False,
        description="leave out images that cannot be read, and say which, instead of stopping; where images are "
        "streamed, all are read once before",
    )

    @pydantic.model_validator(mode="after")
    def _in_range(self) -> DataSettings:
        # Raised as DocendoError, which pydantic lets through: its own errors are several lines long.
        if not self.name.strip():
            raise DocendoError("data is empty: name a data set, or a path to images")
        if not 0 <= self.validation <= 0.5:
            raise DocendoError(
                f"validation={self.validation} is out of range: it is the fraction of the training images kept for "
                "validation, from 0 (none) to 0.5"
            )
        if self.image_size is not None and self.image_size < 4:
            raise DocendoError(f"image_size={self.image_size} is too small: give at least 4 pixels")
        if self.train_images is not None and self.train_images < 1:
            raise DocendoError(f"train_images={self.train_images}: give at least 1, or leave it out to use all images")
        if self.pad is not None and self.pad < 0:
            raise DocendoError(f"pad={self.pad}: give 0 pixels or more")
        if self.smallest_crop is not None and not 0 < self.smallest_crop <= 1:
            raise DocendoError(
                f"smallest_crop={self.smallest_crop} is out of range: it is the share of an image that a crop keeps at "
                "least, above 0 and at most 1"
            )
        self._check_normalisation()
        self._check_variety()
        if self.workers < 0:
            raise DocendoError(f"workers={self.workers}: give 0 (decode in the main process) or more")
        return self

    def _check_normalisation(self) -> None:
        mean, std = self.mean, self.std
        if (mean is None) != (std is None) or len(mean or ()) != len(std or ()):
            raise DocendoError(
                f"mean={_written(mean)} and std={_written(std)} do not belong together: give as many numbers in both"
            )
        if not all(map(math.isfinite, mean or ())) or not all(0 < s < math.inf for s in std or ()):
            raise DocendoError(
                f"mean={_written(mean)}, std={_written(std)}: give finite numbers, and deviations above 0"
            )

    def _check_variety(self) -> None:
        operations = self.randaugment
        if operations is not None and not (len(operations) == 2 and operations[0] >= 1 and 0 <= operations[1] <= 30):
            raise DocendoError(
                f"randaugment={_written(operations)}: give two whole numbers, how many operations, at least 1, and "
                "their magnitude from 0 to 30, such as 2,9"
            )
        for name, least, given in (("cutout", "1 pixel", self.cutout), ("pool", "1 view", self.pool)):
            if given is not None and given < 1:
                raise DocendoError(f"{name}={given}: give at least {least}, or leave it out")
        for name, alpha in (("mixup", self.mixup), ("cutmix", self.cutmix)):
            if alpha is not None and not 0 < alpha < math.inf:
                raise DocendoError(
                    f"{name}={alpha:g}: shares are drawn from Beta({name}, {name}), which needs a finite number above "
                    "0; leave it out not to mix"
                )
            if alpha is not None and self.pool is not None:
                raise DocendoError(
                    f"pool={self.pool} keeps views for a teacher's answers to be remembered, which those to mixed "
                    f"images ({name}={alpha:g}) cannot be: leave one of the two out"
                )


def _written(numbers: tuple[float, ...] | tuple[int, ...] | None) -> str:
    return "null" if numbers is None else ",".join(f"{n:g}" for n in numbers)

"""What `load` gives: splits of one data set, and what is known about them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from docendo.data.expectation import Expectation
from docendo.data.split import Split
from docendo.data.varied import Varied
from docendo.data.views import Augmentation


@dataclass(frozen=True, eq=False)
class DataSet:
    """Images split for training, validation and test, and what is known about them.

    Attributes:
        name: what people call it.
        classes: names, in the order of the labels.
        channels: 1 for grey, 3 for RGB.
        image_size: side in pixels.
        crop_ratio: in evaluation images are scaled to this multiple of `image_size` before the centre crop.
        mean: of each channel, in [0, 1]: published for cifar, else of all images offered for training (validation
            included, so that it does not depend on that split); ImageNet's where images are streamed.
        std: of each channel, in [0, 1], likewise.
        augmentation: makes training views.
        train: to learn from.
        val: to choose by; None if there is none.
        test: to report.
        notes: sentences that the user should read.
        fingerprint: hex digest of all that decides what a run sees: images, labels, splits, size, views,
            normalisation, mixing. Of streamed images names and sizes stand for the pixels.
    """

    name: str
    classes: tuple[str, ...]
    channels: int
    image_size: int
    crop_ratio: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    augmentation: Augmentation | Varied
    train: Split
    val: Split | None
    test: Split
    notes: tuple[str, ...]
    fingerprint: str

    @property
    def expectation(self) -> Expectation:
        """What networks that train on these images come to expect."""
        return Expectation(self.mean, self.std, self.image_size)

    @property
    def mixes(self) -> bool:
        """Whether training images are mixed with each other (see `Split.mixes`)."""
        return self.train.mixes

    def to(self, device: torch.device | str) -> DataSet:
        """Give the data set with its batches on a device; images in memory are copied there once."""
        stores = {split.store for split in (self.train, self.val, self.test) if split is not None}
        moved = {store: store.to(torch.device(device)) for store in stores}
        return replace(
            self,
            train=replace(self.train, store=moved[self.train.store]),
            val=replace(self.val, store=moved[self.val.store]) if self.val is not None else None,
            test=replace(self.test, store=moved[self.test.store]),
        )

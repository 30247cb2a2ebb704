"""The images of a split, batch by batch, in an order that only depends on seed, stream and epoch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from docendo.core import Batch
from docendo.data.expectation import Expectation, resized
from docendo.data.images import normalise
from docendo.data.mixing import Mixing, spacing_of
from docendo.data.seeds import generator, seed_for
from docendo.data.stores import Store, chunks
from docendo.data.varied import Varied
from docendo.data.views import Augmentation
from docendo.errors import DocendoError


class EpochTable(NamedTuple):
    """All random choices of one epoch.

    Attributes:
        order: (N,), int64: which samples, in which order.
        view: (N,), int64: which view of each sample, looked up by sample index.
        mixing: the seed of how images are mixed; None where they are not.
    """

    order: Tensor
    view: Tensor
    mixing: int | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Split:
    """Images and their labels. Index means a sample's place in the split.

    Attributes:
        labels: (N,), int64, on the CPU.
        rows: (N,), int64: where each sample is in the store, which several splits may share.
        store: gives the pixels.
        augmentation: makes training views.
        image_size: side in pixels.
        mean: of each channel, in [0, 1].
        std: of each channel, in [0, 1].
        resize: side to which normalised images are scaled at last; None: not at all.
        mixing: mixes training images with each other; None: they stay apart.
    """

    labels: Tensor
    rows: Tensor
    store: Store
    augmentation: Augmentation | Varied
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: int | None = None
    mixing: Mixing | None = None

    def __repr__(self) -> str:
        """Say how many samples there are, and not what each label is."""
        return f"Split({len(self)} images)"

    def __len__(self) -> int:
        """Count the samples."""
        return len(self.labels)

    @property
    def mixes(self) -> bool:
        """Whether training images are mixed: then (index, view) does not determine an image, and labels are shares."""
        return self.mixing is not None

    def epoch(self, seed: int, stream: str, epoch: int) -> EpochTable:
        """Draw the order and the views of one epoch of training, a pure function of the arguments.

        Args:
            seed: the run's seed.
            stream: whose randomness this is: a role.
            epoch: counted from 0.
        """
        order = self.store.shuffled(self.rows, generator(seed, stream, epoch, "order"))
        view = self.augmentation.draw(len(self), generator(seed, stream, epoch, "view"))
        return EpochTable(order, view, seed_for(seed, stream, epoch, "mixing") if self.mixing else None)

    def steps(self, batch_size: int, processes: int = 1) -> int:
        """Count the batches of one epoch of training.

        A last batch of a single image is left out, as BatchNorm cannot learn from one, and so is one with fewer images
        than processes.
        """
        full, rest = divmod(len(self), batch_size)
        return full + (rest >= max(2, processes))

    def batches(
        self, batch_size: int, *, table: EpochTable | None = None, start: int = 0, share: tuple[int, int] = (0, 1)
    ) -> Iterator[Batch]:
        """Give the split in batches.

        Args:
            batch_size: samples a batch, at least 1; the last batch may be shorter.
            table: training views, in its order, `steps(batch_size)` batches. None, for evaluation: all samples in
                order, not augmented.
            start: the number of the first batch to give, counted from 0.
            share: (k, n) gives, of each training batch, every n-th image from the k-th: the part of one of n processes.

        Yields:
            Batches on the device of the data set: images float32, normalised, channels last in memory; progress 0.
            Where images are mixed, labels are shares of classes (see `Mixing`).

        Raises:
            DocendoError: a streamed image cannot be read; there are fewer than two images for each process to mix.
        """
        device, training = self.store.device, table is not None
        order = torch.arange(len(self)) if table is None else table.order
        view = torch.full_like(order, self.augmentation.plain) if table is None else table.view[order]
        end = len(order)
        if training and batch_size > 1:
            end = min(end, self.steps(batch_size, share[1]) * batch_size)
        mine = torch.arange(min(start * batch_size, end), end)
        mine = mine[mine % batch_size % share[1] == share[0]]
        order, view = order[mine], view[mine]
        if not len(order):
            return
        whole, processes = batch_size, share[1]
        seed = table.mixing if table is not None and self.mixing is not None else None
        if seed is not None and whole < 2 * processes:
            raise DocendoError(
                f"a batch of {whole} images on {processes} processes leaves none to mix with: give a batch size of at "
                f"least {2 * processes}, or leave data.mixup and data.cutmix out"
            )
        batch_size = len(range(share[0], whole, processes))
        sides = (chunks(t.to(device), batch_size) for t in (self.labels[order], order, view))
        each = zip(self._pixels(order, view, batch_size, training), *sides, strict=True)
        for number, (pixels, labels, index, views) in enumerate(each, start):
            seen = resized(normalise(pixels, self.mean, self.std), self.resize or self.image_size)
            batch = Batch(seen, labels, index, views, 0.0)
            if self.mixing is not None and seed is not None:
                spacing = spacing_of(min(whole, end - number * whole), processes)
                batch = self.mixing(batch, seed=seed, number=number, spacing=spacing)
            yield batch

    def _pixels(self, index: Tensor, view: Tensor, batch_size: int, training: bool) -> Iterator[Tensor]:
        """Give images as uint8, in batches on the device: these views of them, or, for evaluation, as they are."""
        rows, varied = self.rows[index], self.augmentation
        if not training:
            return self.store.images(rows, view, batch_size, self.image_size, None)
        if not isinstance(varied, Varied):
            return self.store.images(rows, view, batch_size, self.image_size, varied)
        ids = varied.ids(index, view)
        cut = self.store.images(rows, varied.cut_views(ids), batch_size, self.image_size, varied.cut)
        each = zip(cut, chunks(ids.to(self.store.device), batch_size), strict=True)
        return (varied.changed(images, some) for images, some in each)

    def seen_by(self, network: Expectation | None) -> Split:
        """Give the same images as a network expects them; None expects them as they are."""
        if network is None:
            return self
        return replace(self, mean=network.mean, std=network.std, resize=network.image_size)

    def where(self, i: int) -> str:
        """Say where sample `i` came from: a path, or a file and a row."""
        return self.store.where(int(self.rows[i]))

"""Where pixels wait: all of them on the device, or on disk and read by worker processes."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from docendo.data.crops import ResizedCrop
from docendo.data.images import centre, prepare, stored_side
from docendo.data.sources.part import Encoded, Part, decode
from docendo.data.views import Augmentation
from docendo.errors import DocendoError


class _Job(NamedTuple):
    """What a worker needs to make a batch."""

    rows: list[int]
    encoded: list[Encoded]
    view: list[int]


def chunks(values: Tensor, size: int) -> list[Tensor]:
    """Cut a tensor into pieces of so many rows, the last one perhaps shorter."""
    return [values[i : i + size] for i in range(0, len(values), size)]


class Store(Protocol):
    """Gives uint8 images by their row."""

    @property
    def device(self) -> torch.device:
        """Where images come out."""
        ...

    def to(self, device: torch.device) -> Store:
        """Give a store whose images come out on another device."""
        ...

    def where(self, row: int) -> str:
        """Say where a row came from."""
        ...

    def content(self) -> Iterable[bytes | memoryview]:
        """Give what tells these images from others: pixels, or names and sizes of files."""
        ...

    def shuffled(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Draw an order for training.

        Args:
            rows: (N,), int64, in ascending order.
            generator: draws it.

        Returns:
            (N,), int64: places in `rows`, each once.
        """
        ...

    def images(
        self, rows: Tensor, view: Tensor, batch_size: int, size: int, augmentation: Augmentation | None
    ) -> Iterator[Tensor]:
        """Give batches of images.

        Args:
            rows: (N,), int64, which images in which order.
            view: (N,), int64, which view of each.
            batch_size: images a batch; the last one may be shorter.
            size: side of the images in pixels.
            augmentation: makes the views; None for the middle of each image as it is.

        Yields:
            (B, C, size, size), uint8, on the device.
        """
        ...


@dataclass(frozen=True, eq=False, repr=False)
class Memory:
    """All images in one tensor.

    Attributes:
        pixels: (N, H, W, C), uint8.
        part: where they came from.
    """

    pixels: Tensor
    part: Part

    @property
    def device(self) -> torch.device:
        """Where the images are."""
        return self.pixels.device

    def to(self, device: torch.device) -> Memory:
        """Copy the images to another device."""
        return replace(self, pixels=self.pixels.to(device))

    def where(self, row: int) -> str:
        """Say where a row came from."""
        return self.part.where(row)

    def content(self) -> Iterable[bytes | memoryview]:
        """Give the pixels."""
        yield str(tuple(self.pixels.shape)).encode()
        yield self.pixels.cpu().numpy().data

    def shuffled(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Draw any order; see `Store`."""
        return torch.randperm(len(rows), generator=generator)

    def images(
        self, rows: Tensor, view: Tensor, batch_size: int, size: int, augmentation: Augmentation | None
    ) -> Iterator[Tensor]:
        """Give batches of images; see `Store`."""
        rows, view = rows.to(self.device), view.to(self.device)
        for some, views in zip(chunks(rows, batch_size), chunks(view, batch_size), strict=True):
            images = self.pixels.index_select(0, some).permute(0, 3, 1, 2)
            yield centre(images, size) if augmentation is None else augmentation(images, views, size)


@dataclass(frozen=True, eq=False, repr=False)
class Streamed:
    """Images that stay on disk: worker processes decode them, batch by batch.

    Attributes:
        part: reads them.
        channels: 1 for grey, 3 for RGB.
        crop_ratio: side before the centre crop, as a multiple of the image size.
        workers: how many processes; with 0 the main one decodes.
        device: where batches come out.
    """

    part: Part
    channels: int
    crop_ratio: float
    workers: int
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def to(self, device: torch.device) -> Streamed:
        """Let batches come out on another device."""
        return replace(self, device=device)

    def where(self, row: int) -> str:
        """Say where a row is."""
        return self.part.where(row)

    def content(self) -> Iterable[bytes | memoryview]:
        """Give names and sizes of the files."""
        return (line.encode("utf-8", "surrogateescape") + b"\n" for line in self.part.listing())

    def shuffled(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Draw an order in which the files can be read; see `Store`."""
        return self.part.shuffled(rows, generator)

    def images(
        self, rows: Tensor, view: Tensor, batch_size: int, size: int, augmentation: Augmentation | None
    ) -> Iterator[Tensor]:
        """Give batches of images; see `Store`.

        Raises:
            DocendoError: an image cannot be read, or a worker process died.
        """
        crop = augmentation if isinstance(augmentation, ResizedCrop) else None
        views = chunks(view, batch_size)
        jobs = self._jobs(rows, views)
        for some, images in zip(views, self._decoded(_Decoder(self, size, crop), jobs, len(views)), strict=True):
            images = images.to(self.device, non_blocking=True).permute(0, 3, 1, 2)
            if augmentation is not None and crop is None:
                images = augmentation(images, some.to(self.device), size)
            yield images

    def _jobs(self, rows: Tensor, views: list[Tensor]) -> Iterator[_Job]:
        encoded, first = self.part.encoded(rows), 0
        for view in views:
            some = rows[first : first + len(view)].tolist()
            yield _Job(some, list(islice(encoded, len(some))), view.tolist())
            first += len(view)

    def _decoded(self, decoder: _Decoder, jobs: Iterator[_Job], count: int) -> Iterator[Tensor]:
        workers = min(self.workers, count)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*fork", category=DeprecationWarning)
            warnings.filterwarnings("ignore", message="This DataLoader will create")  # as many as were asked for
            loader: DataLoader[Tensor | str] = DataLoader(
                decoder,
                sampler=jobs,  # the "index" of an item says how to make a whole batch
                batch_size=None,
                num_workers=workers,
                pin_memory=self.device.type == "cuda",
                # Without its own generator the loader would draw from the global one, and dropout would notice.
                generator=torch.Generator(),
                # Forked workers share what is in memory and need no `if __name__ == "__main__"` in the user's script.
                multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
            )
            batches = iter(loader)
        while True:
            try:
                batch = next(batches)
            except StopIteration:
                return
            except RuntimeError as error:
                if "DataLoader worker" not in str(error):
                    raise
                raise DocendoError(
                    f"a process that decodes images died ({str(error).splitlines()[0]}), often for lack of (shared) "
                    f"memory: give fewer than workers={self.workers}, or 0"
                ) from error
            if isinstance(batch, str):
                raise DocendoError(batch)
            yield batch


class _Decoder(Dataset[Tensor | str]):
    """What runs in a worker. Errors travel as text: the loader would wrap them in a traceback of many lines."""

    def __init__(self, store: Streamed, size: int, crop: ResizedCrop | None) -> None:
        self.store, self.size, self.crop = store, size, crop

    def __getitem__(self, job: _Job) -> Tensor | str:
        try:
            images = self._evaluated(job) if self.crop is None else self._cropped(job, self.crop)
            return torch.stack([image.permute(1, 2, 0) for image in images])
        except DocendoError as error:
            return str(error)

    def _evaluated(self, job: _Job) -> Iterator[Tensor]:
        channels, ratio = self.store.channels, self.store.crop_ratio
        for row, encoded in zip(job.rows, job.encoded, strict=True):
            image = decode(encoded, self.store.where(row), stored_side(self.size, ratio))
            yield prepare(image, channels, self.size, ratio)

    def _cropped(self, job: _Job, crop: ResizedCrop) -> Iterator[Tensor]:
        boxes, mirrored = crop.boxes(torch.tensor(job.view))
        # Scaled so, the box itself is as large as the result.
        sides = (self.size / boxes[:, 2:].amin(1)).ceil().int().tolist()
        each = zip(job.rows, job.encoded, sides, boxes.tolist(), mirrored.tolist(), strict=True)
        for row, encoded, side, box, flip in each:
            image = decode(encoded, self.store.where(row), side)
            yield crop.cut_out(image, self.store.channels, box, flip, self.size)

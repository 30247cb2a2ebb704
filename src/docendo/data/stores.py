"""Where pixels wait: all of them on the device, or on disk and read by worker processes."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from docendo.data.images import centre, prepare
from docendo.data.sources.part import Part
from docendo.data.views import Augmentation, ResizedCrop
from docendo.errors import DocendoError

_Job = tuple[Tensor, Tensor]


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

    def images(
        self, rows: Tensor, view: Tensor, batch_size: int, size: int, augmentation: Augmentation | None
    ) -> Iterator[Tensor]:
        """Give batches of images; see `Store`.

        Raises:
            DocendoError: an image cannot be read, or a worker process died.
        """
        cropped_by_worker = isinstance(augmentation, ResizedCrop)
        jobs = list(zip(chunks(rows, batch_size), chunks(view, batch_size), strict=True))
        decoder = _Decoder(self, size, augmentation if isinstance(augmentation, ResizedCrop) else None)
        for (_, views), images in zip(jobs, self._decoded(decoder, jobs), strict=True):
            images = images.to(self.device, non_blocking=True).permute(0, 3, 1, 2)
            if augmentation is not None and not cropped_by_worker:
                images = augmentation(images, views.to(self.device), size)
            yield images

    def _decoded(self, decoder: _Decoder, jobs: list[_Job]) -> Iterator[Tensor]:
        workers = min(self.workers, len(jobs))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*fork", category=DeprecationWarning)
            warnings.filterwarnings("ignore", message="This DataLoader will create")  # as many as were asked for
            loader: DataLoader[Tensor | str] = DataLoader(
                decoder,
                sampler=jobs,  # the "index" of an item is the list of images of a batch
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
        rows, views = job
        try:
            images = [self._image(row, view) for row, view in zip(rows.tolist(), views.tolist(), strict=True)]
        except DocendoError as error:
            return str(error)
        return torch.stack([image.permute(1, 2, 0) for image in images])

    def _image(self, row: int, view: int) -> Tensor:
        image = self.store.part.read(row)
        if self.crop is not None:
            return self.crop.of_image(image, self.store.channels, view, self.size)
        return prepare(image, self.store.channels, self.size, self.store.crop_ratio)

"""How often a network is still right where images are spoiled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from docendo.core import Batch
from docendo.errors import DocendoError
from docendo.metrics.accuracy import Images, accuracies
from docendo.metrics.asking import asking
from docendo.metrics.corruptions import CORRUPTIONS, SEVERITIES, corrupt


class NormalisedImages(Images, Protocol):
    """A split that says how its images were normalised."""

    @property
    def mean(self) -> tuple[float, ...]:
        """What was subtracted from each channel of images in [0, 1]."""
        ...

    @property
    def std(self) -> tuple[float, ...]:
        """What each channel was then divided by."""
        ...


class Robustness(NamedTuple):
    """Top-1 accuracy on spoiled images, as fractions.

    Attributes:
        mean: over all corruptions and severities.
        corruptions: mean over the severities, of each corruption.
        severities: of each corruption, the accuracy at each severity.
    """

    mean: float
    corruptions: dict[str, float]
    severities: dict[str, tuple[float, ...]]


def corrupted_accuracy(
    network: nn.Module,
    split: NormalisedImages,
    classes: int,
    corruptions: Sequence[str] = tuple(CORRUPTIONS),
    severities: Sequence[int] = SEVERITIES,
) -> Robustness:
    """Measure a network on spoiled images of a split: see `docendo.metrics.corruptions` for how, and for its limits.

    The figures are not comparable with those on the files of CIFAR-10-C or CIFAR-100-C. Images are spoiled at the size
    at which the network sees them, in 8 bits; which noise an image gets depends on nothing but its place in the split.
    The images are read once, and the network answers each once for each corruption and severity: 50 times by default.

    Args:
        network: images to an output with `logits`.
        split: as the network expects it, on its device, one image or more.
        classes: number of classes K.
        corruptions: which, of `CORRUPTIONS`.
        severities: which, of 1 to 5.

    Raises:
        DocendoError: if a corruption or severity is unknown, or there is none.
    """
    if not corruptions or not severities:
        raise DocendoError("the accuracy on spoiled images needs one corruption and one severity or more, got none")
    with asking(network) as ask:

        def answers(batch: Batch) -> dict[str, Tensor]:
            pixels = _pixels(batch.images, split)
            return {
                f"{name} {severity}": ask(_seen(corrupt(pixels, name, severity, batch.index), split)).logits
                for name in corruptions
                for severity in severities
            }

        found = accuracies(answers, split, classes)
    by_severity = {name: tuple(found[f"{name} {severity}"].top1 for severity in severities) for name in corruptions}
    means = {name: sum(each) / len(each) for name, each in by_severity.items()}
    return Robustness(sum(means.values()) / len(means), means, by_severity)


def _pixels(images: Tensor, split: NormalisedImages) -> Tensor:
    mean, std = _constants(split, images)
    return ((images.float() * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)


def _seen(pixels: Tensor, split: NormalisedImages) -> Tensor:
    mean, std = _constants(split, pixels)
    return pixels.to(torch.float32, memory_format=torch.channels_last).div_(255).sub_(mean).div_(std)


def _constants(split: NormalisedImages, like: Tensor) -> tuple[Tensor, Tensor]:
    mean, std = (torch.tensor(values, device=like.device).view(-1, 1, 1) for values in (split.mean, split.std))
    return mean, std

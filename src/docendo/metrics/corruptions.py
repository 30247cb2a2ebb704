"""Common corruptions of images, made on the fly: each a pure function of (image, corruption, severity, index).

The ten are of the kinds of Hendrycks and Dietterich (Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations, ICLR 2019, arXiv 1903.12261), nine of their fifteen and Gaussian blur of their extra ones. Strengths are
those of their script for 32 x 32 images (`make_cifar_c.py`), but for defocus and fog, which are made otherwise here and
whose strengths are ours. Random numbers, blur at the border and resampling differ too: **accuracies are not comparable
with those on the files of CIFAR-10-C or CIFAR-100-C**, only with each other. Lengths in pixels grow with images larger
than 32 pixels; strengths of noise and compression do not, so that larger images suffer less than in ImageNet-C.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from docendo.errors import DocendoError, nearest

SEVERITIES = (1, 2, 3, 4, 5)
"""From mild to strong."""

Pixels = npt.NDArray[np.float32]
"""One image (C, H, W) in [0, 1]."""


class Corruption(NamedTuple):
    """A way to spoil images, of which either all at once or each by itself are spoiled.

    Attributes:
        strengths: what `batch` or `each` is given at severities 1 to 5.
        batch: images (B, C, H, W), in [0, 1], and a strength to spoiled ones; nothing in it is random.
        each: one image, a strength and the image's own random numbers to the spoiled one.
    """

    strengths: tuple[float, float, float, float, float]
    batch: Callable[[Tensor, float], Tensor] | None = None
    each: Callable[[Pixels, float, np.random.Generator], Pixels] | None = None


def corrupt(images: Tensor, corruption: str, severity: int, index: Tensor) -> Tensor:
    """Spoil images.

    Args:
        images: (B, C, H, W), uint8, grey or RGB.
        corruption: one of `CORRUPTIONS`.
        severity: one of `SEVERITIES`.
        index: (B,), int64, at least 0: each image's place in its split, by which its random numbers are drawn.

    Returns:
        (B, C, H, W), uint8, on the device of the images. Up to rounding the same on any device and whatever batch an
        image is in; other versions of NumPy may draw other random numbers.

    Raises:
        DocendoError: if the corruption or the severity is unknown.

    >>> images = torch.full((1, 1, 2, 2), 100, dtype=torch.uint8)
    >>> corrupt(images, "brightness", 4, torch.tensor([0])).flatten().tolist()  # 100 + 0.2 * 255
    [151, 151, 151, 151]
    """
    if corruption not in CORRUPTIONS:
        raise DocendoError(f'there is no corruption "{corruption}"; {nearest(corruption, CORRUPTIONS)}')
    if severity not in SEVERITIES:
        raise DocendoError(f"severity {severity} is not known: choose from 1, mild, to 5, strong")
    how = CORRUPTIONS[corruption]
    strength = how.strengths[severity - 1]
    pixels = images.float() / 255
    if how.batch is not None:
        spoiled = how.batch(pixels, strength)
    else:
        assert how.each is not None
        singles = zip(pixels.cpu().numpy(), index.tolist(), strict=True)
        seeds = (severity, *corruption.encode())
        made = [how.each(one, strength, np.random.default_rng([i, *seeds])) for one, i in singles]
        spoiled = torch.from_numpy(np.stack(made)).to(images.device)
    return (spoiled.clamp(0, 1) * 255).round().to(torch.uint8)


def _gaussian_noise(image: Pixels, deviation: float, random: np.random.Generator) -> Pixels:
    return image + deviation * random.standard_normal(image.shape, np.float32)


def _shot_noise(image: Pixels, photons: float, random: np.random.Generator) -> Pixels:
    return random.poisson(image * photons).astype(np.float32) / np.float32(photons)


def _impulse_noise(image: Pixels, share: float, random: np.random.Generator) -> Pixels:
    hit, white = random.random((2, *image.shape)) < np.array([share, 0.5]).reshape(2, 1, 1, 1)
    return np.where(hit, white, image).astype(np.float32)


def _fog(image: Pixels, thickness: float, random: np.random.Generator) -> Pixels:
    """Mix with white, by a share that varies smoothly over the image, from coarse to fine, with mean `thickness`."""
    _, height, width = image.shape
    cloud = np.zeros((height, width))
    for cells, amplitude in ((2, 8), (3, 4), (5, 2), (9, 1)):
        rows, columns = (_between(extent, cells) for extent in (height, width))
        cloud += amplitude / 15 * (rows @ random.random((cells, cells)) @ columns.T)
    share = np.clip(thickness * (0.5 + cloud), 0, 1)
    return (image * (1 - share) + share).astype(np.float32)


def _between(extent: int, cells: int) -> npt.NDArray[np.float64]:
    """Give the matrix (extent, cells) that interpolates linearly from a coarse grid."""
    places = np.linspace(0, cells - 1, extent)
    weights: npt.NDArray[np.float64] = np.clip(1 - np.abs(places[:, None] - np.arange(cells)), 0, 1)
    return weights


def _jpeg(image: Pixels, quality: float, random: np.random.Generator) -> Pixels:
    with io.BytesIO() as file:
        _to_pillow(image).save(file, "JPEG", quality=int(quality))
        return _from_pillow(Image.open(file))


def _pixelate(image: Pixels, left: float, random: np.random.Generator) -> Pixels:
    whole = _to_pillow(image)
    small = (max(1, int(whole.width * left)), max(1, int(whole.height * left)))
    return _from_pillow(whole.resize(small, Image.Resampling.BOX).resize(whole.size, Image.Resampling.BOX))


def _to_pillow(image: Pixels) -> Image.Image:
    pixels = (image * 255).round().astype(np.uint8).transpose(1, 2, 0)
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else np.ascontiguousarray(pixels))


def _from_pillow(image: Image.Image) -> Pixels:
    pixels = np.array(image).astype(np.float32) / np.float32(255)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def _scale(images: Tensor) -> float:
    return max(1.0, min(images.shape[2:]) / 32)


def _gaussian_blur(images: Tensor, deviation: float) -> Tensor:
    deviation *= _scale(images)
    away = torch.arange(-math.ceil(4 * deviation), math.ceil(4 * deviation) + 1, device=images.device)
    weights = torch.exp(-(away**2) / (2 * deviation**2))
    return _filtered(_filtered(images, weights[None, :]), weights[:, None])


def _defocus_blur(images: Tensor, radius: float) -> Tensor:
    """Spread each pixel over a disk, whose border pixels count by how much of them it covers, roughly."""
    radius *= _scale(images)
    away = torch.arange(-math.ceil(radius), math.ceil(radius) + 1, device=images.device)
    return _filtered(images, (radius + 0.5 - torch.hypot(away[:, None].float(), away[None, :].float())).clamp(0, 1))


def _filtered(images: Tensor, weights: Tensor) -> Tensor:
    """Give weighted means of neighbours; beyond the border its pixels are repeated."""
    rows, columns = ((extent - 1) // 2 for extent in weights.shape)
    padded = F.pad(images, (columns, columns, rows, rows), mode="replicate")
    kernel = (weights / weights.sum()).expand(images.shape[1], 1, *weights.shape)
    return F.conv2d(padded, kernel.contiguous(), groups=images.shape[1])


def _brightness(images: Tensor, more: float) -> Tensor:
    """Raise the value of hue, saturation and value."""
    value = images.amax(dim=1, keepdim=True)
    raised = (value + more).clamp(max=1)
    return torch.where(value > 0, images * (raised / value.clamp(min=1 / 255)), raised)


def _contrast(images: Tensor, left: float) -> Tensor:
    mean = images.mean(dim=(2, 3), keepdim=True)
    return mean + left * (images - mean)


CORRUPTIONS: dict[str, Corruption] = {
    "gaussian_noise": Corruption((0.04, 0.06, 0.08, 0.09, 0.10), each=_gaussian_noise),
    "shot_noise": Corruption((500, 250, 100, 75, 50), each=_shot_noise),
    "impulse_noise": Corruption((0.01, 0.02, 0.03, 0.05, 0.07), each=_impulse_noise),
    "gaussian_blur": Corruption((0.4, 0.6, 0.7, 0.8, 1.0), batch=_gaussian_blur),
    "defocus_blur": Corruption((0.7, 0.9, 1.1, 1.4, 1.8), batch=_defocus_blur),
    "fog": Corruption((0.2, 0.3, 0.4, 0.5, 0.6), each=_fog),
    "brightness": Corruption((0.05, 0.1, 0.15, 0.2, 0.3), batch=_brightness),
    "contrast": Corruption((0.75, 0.5, 0.4, 0.3, 0.15), batch=_contrast),
    "pixelate": Corruption((0.95, 0.9, 0.85, 0.75, 0.65), each=_pixelate),
    "jpeg": Corruption((80, 65, 58, 50, 40), each=_jpeg),
}
"""By name: what each gives and how strong it is."""

"""From a file to numbers: decode, square, normalise. Training, evaluation and prediction all come through here."""

from __future__ import annotations

import io
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from docendo.errors import DocendoError

# Pillow asks one format after the other, WebP among the last; for small images that costs more than decoding them.
_MAGIC = {b"\xff\xd8\xff": "JPEG", b"\x89PNG": "PNG", b"RIFF": "WEBP"}

_GREY = {"1", "L", "LA", "I", "F"}


def read_image(source: str | Path | bytes, where: str | None = None, short_side: int | None = None) -> Image.Image:
    """Decode an image completely.

    Args:
        source: a path, or the bytes of an image file.
        where: what to call it in an error; a path names itself.
        short_side: to how many pixels the shorter side will be scaled. A JPEG that is much larger is decoded at a half,
            a quarter or an eighth of its size, never below twice what is needed.

    Returns:
        The image in grey or RGB, upright (EXIF orientation applied), transparency dropped; of an animation the first
        frame.

    Raises:
        DocendoError: it cannot be read: missing, empty, cut short, damaged, or no image at all.
    """
    where = shown(where or ("image" if isinstance(source, bytes) else str(source)))
    try:
        data = source if isinstance(source, bytes) else Path(source).read_bytes()
    except OSError as error:
        raise DocendoError(f"cannot read {where}: {error.strerror or error}") from error
    if not data:
        raise DocendoError(f"cannot read {where}: the file is empty (0 bytes)")
    try:
        image = _open(data)
        if short_side is not None:
            image.draft(None, (2 * short_side, 2 * short_side))
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        return convert(image, 1 if image.mode in _GREY or image.mode.startswith("I;16") else 3)
    except Exception as error:  # damaged files make Pillow's decoders raise nearly anything
        reason = str(error) or type(error).__name__
        if isinstance(error, UnidentifiedImageError):
            reason = "not an image in a format that Pillow reads"
        raise DocendoError(f"cannot read {where}: {reason}") from error


def shown(path: str) -> str:
    """Give a path so that it can be printed, also where a file's name is not valid Unicode."""
    return path.encode("utf-8", "backslashreplace").decode()


def _open(data: bytes) -> Image.Image:
    for magic, name in _MAGIC.items():
        if data.startswith(magic):
            try:
                return Image.open(io.BytesIO(data), formats=(name,))
            except UnidentifiedImageError:
                break
    return Image.open(io.BytesIO(data))


def convert(image: Image.Image, channels: int) -> Image.Image:
    """Give the image as grey (1 channel) or RGB (3), 8 bits each, transparency dropped.

    Raises:
        DocendoError: it cannot be told which of its numbers mean black and white.
    """
    mode = "L" if channels == 1 else "RGB"
    if image.mode == mode:
        return image
    if image.mode.startswith("I") or image.mode == "F":
        image = _in_8_bits(image)
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert(mode)


def _in_8_bits(image: Image.Image) -> Image.Image:
    """Scale by the format's range, where Pillow would clip what is above 255 to white."""
    values = np.asarray(image)
    low, high = values.min(), values.max()
    if image.mode == "F":
        if not 0 <= low <= high <= 1:
            raise DocendoError(f"its floating-point values go from {low:g} to {high:g}, but 0 to 1 are needed")
        return Image.fromarray((values * 255).round().astype(np.uint8))
    if low < 0 or high > 65535:
        raise DocendoError(f"its whole numbers go from {low} to {high}, but 0 to 65535 (16 bits) are needed")
    return Image.fromarray((values >> 8).astype(np.uint8))


def square(image: Image.Image, channels: int, side: int) -> Image.Image:
    """Scale the largest square in the middle of an image to so many pixels, in grey or RGB."""
    image = convert(image, channels)
    if image.size == (side, side):
        return image
    return image.resize((side, side), Image.Resampling.BILINEAR, box=middle(image))


def middle(image: Image.Image) -> tuple[int, int, int, int]:
    """Give the largest square in the middle of an image as (left, top, right, bottom) in pixels."""
    short = min(image.size)
    left, top = ((extent - short) // 2 for extent in image.size)
    return left, top, left + short, top + short


def to_tensor(image: Image.Image) -> Tensor:
    """Give the pixels of a grey or RGB image as (C, H, W), uint8, channels last in memory."""
    pixels = torch.from_numpy(np.array(image))
    return pixels.view(*pixels.shape[:2], -1).permute(2, 0, 1)


def stored_side(image_size: int, crop_ratio: float) -> int:
    """Give the side in pixels to which an image is scaled before the middle `image_size` pixels are cut out."""
    return round(image_size * crop_ratio)


def centre(images: Tensor, size: int) -> Tensor:
    """Cut the middle `size` x `size` pixels out of images (..., H, W)."""
    top, left = ((extent - size) // 2 for extent in images.shape[-2:])
    return images[..., top : top + size, left : left + size]


def prepare(image: Image.Image, channels: int, image_size: int, crop_ratio: float = 1.0) -> Tensor:
    """Make of any image what the networks see in evaluation, before `normalise`.

    Args:
        image: any size, any mode.
        channels: 1 for grey, 3 for RGB.
        image_size: side of the result in pixels.
        crop_ratio: side before the centre crop, as a multiple of `image_size`; `DataSet.crop_ratio` knows it.

    Returns:
        (channels, image_size, image_size), uint8.
    """
    return centre(to_tensor(square(image, channels, stored_side(image_size, crop_ratio))), image_size)


def normalise(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Scale pixels to [0, 1], subtract the mean and divide by the standard deviation of each channel.

    Args:
        images: (B, C, H, W), uint8.
        mean: of each channel, in [0, 1].
        std: of each channel, in [0, 1].

    Returns:
        (B, C, H, W), float32, channels last in memory.
    """
    means, stds = _constants(mean, std, images.device)
    return images.to(torch.float32, memory_format=torch.channels_last).div_(255).sub_(means).div_(stds)


@lru_cache(maxsize=32)
def _constants(mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    means, stds = (torch.tensor(values, device=device).view(-1, 1, 1) for values in (mean, std))
    return means, stds

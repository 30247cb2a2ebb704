"""The operations of RandAugment, for whole batches at once: each image gets its own.

An operation moves pixels, or maps grey levels, or blends the image with another made of it. Where the host would have
to wait for the device to know which image gets which, all three are done to every image: those whose operation is of
another kind come out as they went in.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

OPERATIONS = (
    "identity",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
    "rotate",
    "brightness",
    "color",
    "contrast",
    "sharpness",
    "posterize",
    "solarize",
    "autocontrast",
    "equalize",
)
"""By name, as papers and libraries call them."""
STRONGEST = 30
"""The magnitude at which an operation is as strong as it gets."""


def operated(images: Tensor, operation: Tensor, negative: Tensor, magnitude: int) -> Tensor:
    """Do one operation to each image.

    Args:
        images: (B, C, H, W), uint8, grey or RGB, at least 3 pixels wide and high.
        operation: (B,), int64, the place of its operation in `OPERATIONS`.
        negative: (B,), bool: whether to shear, move or turn the other way, or to weaken instead of to strengthen.
        magnitude: strength, from 0 to `STRONGEST`.

    Returns:
        (B, C, H, W), uint8. With each operation what torchvision gives for tensors, by nearest pixel.

    >>> image = torch.tensor([[[[0, 100, 200]] * 3]], dtype=torch.uint8)
    >>> solarize = torch.tensor([OPERATIONS.index("solarize")])
    >>> operated(image, solarize, torch.tensor([False]), 15)[0, 0, 0]  # from 127.5 on
    tensor([  0, 100,  55], dtype=torch.uint8)
    """
    if images.device.type != "cpu":
        for _, change in _KINDS:
            images = change(images, operation, negative, magnitude)
        return images
    images = images.clone()
    for names, change in _KINDS:
        rows = _is(operation, *names).nonzero()[:, 0]
        if len(rows):
            images[rows] = change(images[rows], operation[rows], negative[rows], magnitude)
    return images


def _is(operation: Tensor, *names: str) -> Tensor:
    """Say which images have one of these operations: (B,), bool."""
    return torch.stack([operation == OPERATIONS.index(name) for name in names]).any(0)


def _strength(most: float, magnitude: int) -> float:
    """Give the amount at a magnitude, rounded as torchvision rounds it: grey levels are cut off after it."""
    return float(torch.linspace(0, most, STRONGEST + 1, dtype=torch.float32)[magnitude])


def _either(negative: Tensor, amount: float, otherwise: float | None = None) -> Tensor:
    """Choose between two numbers for each image, -x and x where one is given: (B,), float32."""
    if otherwise is None:
        amount, otherwise = -amount, amount
    return torch.where(negative, amount, otherwise).float()


def _moved(images: Tensor, operation: Tensor, negative: Tensor, magnitude: int) -> Tensor:
    """Shear, translate and rotate: each pixel comes from the nearest one at its place before, or is black."""
    count, channels, height, width = images.shape
    shear, angle = (_either(negative, _strength(most, magnitude)) for most in (0.3, math.radians(30)))
    across, down = (_either(negative, int(_strength(150 / 331 * extent, magnitude))) for extent in (width, height))
    shear_x, shear_y = (shear * _is(operation, name) for name in ("shear_x", "shear_y"))
    across, down = across * _is(operation, "translate_x"), down * _is(operation, "translate_y")
    angle = angle * _is(operation, "rotate")
    cosine, sine = angle.cos(), angle.sin()
    x, y = (torch.arange(e, dtype=torch.float32, device=images.device) - (e - 1) / 2 for e in (width, height))
    x, y = x[None, None, :], y[None, :, None]

    def place(along_x: Tensor, along_y: Tensor, offset: Tensor, extent: int) -> Tensor:
        a, b, c = (each[:, None, None] for each in (along_x, along_y, offset + (extent - 1) / 2))
        return (a * x + b * y + c).round().long()

    # Shears keep the upper left corner in place, rotations the centre.
    columns = place(cosine, shear_x - sine, shear_x * height / 2 - across, width)
    rows = place(shear_y + sine, cosine, shear_y * width / 2 - down, height)
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    places = (rows.clamp(0, height - 1) * width + columns.clamp(0, width - 1)).flatten(1)
    pixels = images.permute(0, 2, 3, 1).reshape(count, height * width, channels)
    found = pixels.gather(1, places[:, :, None].expand(-1, -1, channels)).view(count, height, width, channels)
    return (found * inside[..., None]).permute(0, 3, 1, 2)


def _mapped(images: Tensor, operation: Tensor, negative: Tensor, magnitude: int) -> Tensor:
    """Give each grey level of each channel another, by a table for each image."""
    levels = torch.arange(256, dtype=torch.float32, device=images.device).expand(*images.shape[:2], 256)
    factor, rest = (_either(negative, *pair)[:, None, None] for pair in _blend(magnitude))
    grey = _grey(images).float().mean((2, 3), keepdim=True)[..., 0]
    step = 2 ** round(4 * magnitude / STRONGEST)
    pixels = images.flatten(2).long()
    tables = {
        "brightness": factor * levels,
        "contrast": factor * levels + rest * grey,
        "posterize": levels - levels % step,
        "solarize": torch.where(levels >= 255 * (1 - magnitude / STRONGEST), 255 - levels, levels),
        "autocontrast": _stretched(levels, pixels),
        "equalize": _equalized(levels, pixels),
    }
    table = levels
    for name, values in tables.items():
        table = torch.where(_is(operation, name)[:, None, None], values, table)
    return table.clamp(0, 255).to(torch.uint8).gather(2, pixels).view(images.shape)


def _blend(magnitude: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """Give the factor of the image and that of the other, each for the negative and for the positive direction."""
    change = _strength(0.9, magnitude)
    weaker, stronger = 1 - change, 1 + change
    return (weaker, stronger), (1 - weaker, 1 - stronger)


def _grey(images: Tensor) -> Tensor:
    """Give the luma of RGB images (B, 1, H, W), uint8; grey ones as they are."""
    if images.shape[1] == 1:
        return images
    red, green, blue = images.unbind(1)
    return (0.2989 * red + 0.587 * green + 0.114 * blue).to(torch.uint8)[:, None]


def _stretched(levels: Tensor, pixels: Tensor) -> Tensor:
    """Let the darkest pixel become 0 and the brightest 255; a channel of one level stays."""
    low, high = (bound.float()[..., None] for bound in (pixels.amin(2), pixels.amax(2)))
    return torch.where(high > low, (levels - low) * (255 / (high - low)), levels)


def _equalized(levels: Tensor, pixels: Tensor) -> Tensor:
    """Let grey levels be about equally frequent."""
    count = torch.zeros(levels.shape, dtype=torch.int64, device=pixels.device)
    count.scatter_add_(2, pixels, torch.ones_like(pixels))
    of_brightest = count.gather(2, pixels.amax(2, keepdim=True))
    step = (pixels.shape[2] - of_brightest) // 255
    below = count.cumsum(2) - count
    return torch.where(step > 0, (below + step // 2) // step.clamp(min=1), levels)


def _blended(images: Tensor, operation: Tensor, negative: Tensor, magnitude: int) -> Tensor:
    """Mix each image with its grey or its smoothed copy, or go away from that."""
    factor, rest = (_either(negative, *pair) for pair in _blend(magnitude))
    blends = _is(operation, "sharpness") if images.shape[1] == 1 else _is(operation, "color", "sharpness")
    factor, rest = torch.where(blends, factor, 1.0), torch.where(blends, rest, 0.0)
    other = torch.where(_is(operation, "sharpness")[:, None, None, None], _smoothed(images), _grey(images))
    factor, rest = factor[:, None, None, None], rest[:, None, None, None]
    return (factor * images + rest * other).clamp(0, 255).to(torch.uint8)


def _smoothed(images: Tensor) -> Tensor:
    """Average each pixel, counted five times, with the eight around it; those at the border stay."""
    wide = images.to(torch.int16)
    inner = wide[:, :, 1:-1, 1:-1]
    rows = wide[:, :, :-2] + wide[:, :, 1:-1] + wide[:, :, 2:]
    total = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:] + 4 * inner
    smooth = images.clone()
    smooth[:, :, 1:-1, 1:-1] = (total.float() / 13).round().to(torch.uint8)
    return smooth


_KINDS = (
    (("shear_x", "shear_y", "translate_x", "translate_y", "rotate"), _moved),
    (("brightness", "contrast", "posterize", "solarize", "autocontrast", "equalize"), _mapped),
    (("color", "sharpness"), _blended),
)

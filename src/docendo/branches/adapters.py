"""Adapters: from the maps of one stage to the shape of another.

What a stage really gives (tokens, channels last) is viewed as maps by `docendo.networks.staged.Layout` before.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

from torch import nn

from docendo.errors import DocendoError

Shape = tuple[int, int, int]


def adapter(source: Shape, target: Shape, *, sides: Literal["convolution", "pooling"] = "convolution") -> nn.Sequential:
    """Bring maps of one shape into another by one linear layer, without normalisation or activation.

    "convolution": equal sides by 1x1, larger ones by a strided convolution, smaller ones by a transposed one, of the
    kernels that `transform` has. "pooling": average over as many areas as the target has places, whatever the sides,
    then 1x1.

    Args:
        source: (C, H, W) of the maps to adapt.
        target: (C, H, W) to reach.
        sides: how to reach the target's height and width.

    Raises:
        DocendoError: if the sides have no integer ratio and are to be reached by convolution.

    >>> adapter((64, 8, 8), (16, 16, 16))[0]
    ConvTranspose2d(64, 16, kernel_size=(4, 4), stride=(2, 2), padding=(1, 1))
    >>> len(adapter((64, 7, 7), (16, 16, 16), sides="pooling"))
    2
    """
    if sides == "pooling":
        return nn.Sequential(nn.AdaptiveAvgPool2d(target[1:]), nn.Conv2d(source[0], target[0], 1))
    layer = _convolution(source, target)
    if layer is None:
        raise DocendoError(
            f"no convolution leads from {_sides(source)} maps to {_sides(target)} ones: sides need one integer ratio; "
            "add --set sides=pooling, or pair other stages by --pair"
        )
    return nn.Sequential(layer)


def transform(teacher: Shape, student: Shape) -> nn.Sequential:
    """Bring a teacher's features into a student's shape as SFTN does: a convolution, BatchNorm, ReLU.

    Equal sides: 1x1. A larger teacher: stride r, kernel max(3, 2*floor(r/2)+1), padding half of it. A smaller one:
    transposed, stride r, kernel r+2*floor(r/2), padding floor(r/2). At r = 2 these are the 3x3 and 4x4 layers of
    kimyuji/SFTN_kd; other ratios are ours.

    Args:
        teacher: (C, H, W) of the features to adapt.
        student: (C, H, W) to reach.

    Raises:
        DocendoError: if the sides have no integer ratio.

    >>> transform((64, 32, 32), (116, 16, 16))[0]
    Conv2d(64, 116, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1))
    """
    layer = _convolution(teacher, student)
    if layer is None:
        raise DocendoError(
            f"no transform from the teacher's {_sides(teacher)} maps to the student's {_sides(student)}: sides need "
            "one integer ratio; choose another --image-size or networks that shrink alike, or pair others by --pair"
        )
    return nn.Sequential(layer, nn.BatchNorm2d(student[0]), nn.ReLU())


def _convolution(source: Shape, target: Shape) -> nn.Module | None:
    """Give the convolution between two shapes, or None if their sides have no one integer ratio."""
    (channels, *from_sides), (reached, *to_sides) = source, target
    ratio, *other = {Fraction(a, b) for a, b in zip(from_sides, to_sides, strict=True)}
    r = max(ratio.numerator, ratio.denominator)
    if other or min(ratio.numerator, ratio.denominator) > 1:
        return None
    if ratio == 1:
        return nn.Conv2d(channels, reached, 1)
    if ratio > 1:
        kernel = max(3, 2 * (r // 2) + 1)
        return nn.Conv2d(channels, reached, kernel, stride=r, padding=kernel // 2)
    return nn.ConvTranspose2d(channels, reached, r + 2 * (r // 2), stride=r, padding=r // 2)


def _sides(shape: Shape) -> str:
    return f"{shape[1]}x{shape[2]}"

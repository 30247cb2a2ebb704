"""A student's stages reviewed from the deepest up, as in ReviewKD (Chen et al., CVPR 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from docendo.branches.pairs import StagePairs
from docendo.branches.widths import pooled_width

WIDEST = 512

Sides = tuple[int, ...]


class Review(nn.ModuleDict):
    """What a student says of its teacher's paired stages, each from its own stage and all deeper ones.

    It begins with the pooled features, as maps of one place. Each level brings its features to one width, mixes in what
    the level below it has gathered, place by place by two learned shares, and is brought to the teacher's sides: this
    goes on to the next level, and through a 3x3 convolution to the teacher's width. Maps are resized to the nearest
    place. First weights are those of the released code.

    Args:
        pairs: which stages.
        teacher: the staged network whose stages are told; of both, only sizes are read.
        student: the staged network from whose stages.
    """

    def __init__(self, pairs: StagePairs, teacher: Any, student: Any) -> None:
        super().__init__()
        deepest = pooled_width(student)
        width = min(WIDEST, deepest)
        self["pooled"] = _Level(deepest, width, pooled_width(teacher), (1, 1), fuses=False)
        for name, (t, s) in zip(reversed(pairs.names), reversed(pairs.pairs), strict=True):
            channels, *sides = teacher.shapes[t]
            self[name] = _Level(student.widths[s], width, channels, tuple(sides), fuses=True)

    def forward(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Give maps of the teacher's shapes, by pair and for "pooled".

        Args:
            features: the student's maps (B, C, H, W) by pair, and its pooled features as maps of one place.
        """
        said, gathered = {}, None
        for name, level in self.items():
            gathered, said[name] = level(features[name], gathered)
        return said


class _Level(nn.Module):
    def __init__(self, entering: int, width: int, leaving: int, sides: Sides, *, fuses: bool) -> None:
        super().__init__()
        self.sides = sides
        self.enter = _normalised(nn.Conv2d(entering, width, 1, bias=False))
        if fuses:
            self.shares = nn.Sequential(nn.Conv2d(2 * width, 2, 1), nn.Sigmoid())
        self.leave = _normalised(nn.Conv2d(width, leaving, 3, padding=1, bias=False))

    def forward(self, features: Tensor, deeper: Tensor | None) -> tuple[Tensor, Tensor]:
        """Give what goes on to the next level, and what is said of the teacher's stage."""
        x = self.enter(features)
        if deeper is not None:
            deeper = _resized(deeper, x.shape[2:])
            shares = self.shares(torch.cat([x, deeper], dim=1))
            x = x * shares[:, :1] + deeper * shares[:, 1:]
        x = _resized(x, self.sides)
        return x, self.leave(x)


def _normalised(convolution: nn.Conv2d) -> nn.Sequential:
    nn.init.kaiming_uniform_(convolution.weight, a=1)
    return nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels))


def _resized(maps: Tensor, sides: Sides) -> Tensor:
    return maps if maps.shape[2:] == sides else F.interpolate(maps, list(sides), mode="nearest")

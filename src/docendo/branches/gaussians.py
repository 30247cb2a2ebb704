"""What a student's features say of a teacher's: a Gaussian a pair of stages, as in VID (Ahn et al., CVPR 2019)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from docendo.branches.pairs import StagePairs

FIRST_VARIANCE = 5.0
SMALLEST_VARIANCE = 1e-5
"""What is added to every variance, by `docendo.losses.vid`."""


class Gaussians(nn.ModuleDict):
    """For each pair of stages, what the student expects of the teacher's maps.

    The mean comes from the student's maps by three 1x1 convolutions without biases, as wide as the teacher's maps, a
    ReLU between; the variance is one number a channel, the same for all images.

    Args:
        pairs: which stages.
        teacher: the staged network whose maps are expected; of both, only shapes are read.
        student: the staged network from whose maps.
    """

    def __init__(self, pairs: StagePairs, teacher: Any, student: Any) -> None:
        super().__init__()
        for name, (t, s) in zip(pairs.names, pairs.pairs, strict=True):
            self[name] = _Gaussian(student.widths[s], teacher.widths[t])

    def forward(self, pair: str, features: Tensor) -> tuple[Tensor, Tensor]:
        """Give the mean (B, C', H, W) and the log scale (C',) of a pair, from the student's maps (B, C, H, W)."""
        gaussian: Any = self[pair]
        return gaussian.mean(features), gaussian.log_scale


class _Gaussian(nn.Module):
    def __init__(self, entering: int, leaving: int) -> None:
        super().__init__()
        self.mean = nn.Sequential(
            nn.Conv2d(entering, leaving, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(leaving, leaving, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(leaving, leaving, 1, bias=False),
        )
        first = math.log(math.expm1(FIRST_VARIANCE - SMALLEST_VARIANCE))
        self.log_scale = nn.Parameter(torch.full((leaving,), first))

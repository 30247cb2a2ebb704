"""What OFD (Heo et al., ICCV 2019) puts on a student's stages, and has to know of a teacher's before the ReLU."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from docendo.branches.pairs import StagePairs

RAREST = 1e-4
"""A channel is taken to be open, and to be closed, in at least this share of places: a few images show no less."""


class Connectors(nn.ModuleDict):
    """Brings the student's maps of each pair to the teacher's channels: a 1x1 convolution, then BatchNorm, no ReLU.

    First weights are those of the released code, by the number of channels that go out.

    Args:
        pairs: which stages.
        teacher: the staged network whose channels are to be reached; of both, only widths are read.
        student: the staged network whose maps are brought there.
    """

    def __init__(self, pairs: StagePairs, teacher: Any, student: Any) -> None:
        super().__init__()
        for name, (t, s) in zip(pairs.names, pairs.pairs, strict=True):
            width = teacher.widths[t]
            convolution = nn.Conv2d(student.widths[s], width, 1, bias=False)
            nn.init.normal_(convolution.weight, 0.0, math.sqrt(2 / width))
            self[name] = nn.Sequential(convolution, nn.BatchNorm2d(width))

    def forward(self, pair: str, features: Tensor) -> Tensor:
        """Map the student's (B, C, H, W) of a pair to (B, C', H, W)."""
        connected: Tensor = self[pair](features)
        return connected


def openness(maps: Tensor) -> Tensor:
    """Give, for each image and channel, the share of places above 0, and the mean over all places of what is above it.

    Args:
        maps: (B, C, H, W).

    Returns:
        (B, C, 2), whose mean over images is that of all of them.
    """
    maps = maps.detach().float() if maps.dtype in (torch.float16, torch.bfloat16) else maps.detach()
    return torch.stack([(maps > 0).to(maps.dtype).mean(dim=(2, 3)), maps.relu().mean(dim=(2, 3))], dim=2)


def before_relu(openness: Tensor) -> tuple[Tensor, Tensor]:
    """Give mean and standard deviation of the Gaussians that, cut off below 0, are as often and as far open.

    With h = mean / std, a Gaussian is above 0 in a share Phi(h) of places, and the mean of what is above, over all
    places, is std * (h * Phi(h) + phi(h)). Both are known of a ReLU's output, so both unknowns follow.

    Args:
        openness: (B, C, 2), of the function of that name.

    Returns:
        (C,) and (C,); both 0 where a channel is always closed.

    >>> share, above = torch.tensor(0.5), torch.tensor(0.3989)  # half open, and 1 / sqrt(2 pi): the standard Gaussian
    >>> mean, std = before_relu(torch.stack([share, above]).reshape(1, 1, 2))
    >>> round(mean.item(), 3), round(std.item(), 3)
    (0.0, 1.0)
    """
    share, above = openness.mean(dim=0).unbind(dim=1)
    share = share.clamp(RAREST, 1 - RAREST)
    h = torch.special.ndtri(share)
    density = (-h.square() / 2).exp() / math.sqrt(2 * math.pi)
    std = above / (h * share + density)
    return h * std, std

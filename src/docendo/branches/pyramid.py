"""The pyramid of students on a network's stages, as in TESKD (Li et al., arXiv 2110.00329)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from docendo.branches.heads import Heads, kernels
from docendo.networks.staged import PoolHead, as_maps

GIANT = 100_000_000
"""From how many weights on a layer is worth a warning; the largest of ResNet18's pyramid has 17 million."""


class Pyramid(nn.ModuleDict):
    """A top-down pyramid over all stages of a network, and a student on each of its levels but the topmost.

    Level i mixes what the network's stage i has to say with level i + 1; all levels have the D channels of the last
    stage. Student "stage1" reads level 1, at the end of the longest path, and so on. All layers keep PyTorch's own
    first weights, as in zhengli427/TESKD on ResNets.

    Args:
        network: the staged network that the pyramid hangs on; only its shapes are read.

    Raises:
        DocendoError: if it has one stage, or its sides grow.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        shapes, classes = network.shapes, network.spec.classes
        self.layouts = network.layouts
        width = shapes[-1][0]
        for i, (channels, _, _) in enumerate(shapes, start=1):
            self[f"level{i}"] = Level(channels, width, topmost=i == len(shapes))
        for i, kernel in enumerate(kernels(shapes), start=1):
            self[f"stage{i}"] = PoolHead(nn.Linear(width, classes), before=shrink(width, kernel))

    @property
    def notes(self) -> tuple[str, ...]:
        """Warnings about layers so large that few would want them: the kernels grow with the square of D."""
        largest = {name: max(p.numel() for p in self[name].parameters()) for name in self}
        return tuple(
            f"warning: the pyramid's {name} has a layer of {weights / 1e6:.0f} million weights; "
            "a network with fewer channels in its last stage makes it smaller"
            for name, weights in largest.items()
            if weights > GIANT
        )

    def forward(self, stages: Sequence[Tensor]) -> Heads:
        """Give what the students say of a network's stage outputs; these stay attached, so the network learns too.

        Args:
            stages: the raw outputs of all stages.
        """
        maps = as_maps(self.layouts, stages)
        levels: dict[int, Tensor] = {}
        for i in range(len(maps), 0, -1):
            levels[i] = self[f"level{i}"](maps[i - 1], levels.get(i + 1))
        outputs = {f"stage{i}": self[f"stage{i}"](levels[i]) for i in range(1, len(maps))}
        return Heads(outputs, maps[-1].mean(dim=(2, 3)))


class Level(nn.Module):
    """One level of the pyramid: a stage's features, and below the top what the level above adds to them.

    With L the stage's features and U those from above, both brought to D channels and this level's sides, the level
    is a 1x1 convolution of [U + L, U].

    Args:
        channels: of the stage.
        width: D.
        topmost: whether there is no level above.
    """

    def __init__(self, channels: int, width: int, *, topmost: bool) -> None:
        super().__init__()
        self.lateral = _mixing(channels, width)
        if not topmost:
            self.up = _mixing(width, width)
            self.mix = _mixing(2 * width, width)

    def forward(self, stage: Tensor, above: Tensor | None) -> Tensor:
        """Map (B, channels, H, W) and the level above, (B, D, H', W') or None, to (B, D, H, W)."""
        lateral: Tensor = self.lateral(stage)
        if above is None:
            return lateral
        up = self.up(F.interpolate(above, size=lateral.shape[2:], mode="bilinear", align_corners=True))
        mixed: Tensor = self.mix(torch.cat([up + lateral, up], dim=1))
        return mixed


def shrink(width: int, kernel: tuple[int, int]) -> nn.Sequential:
    """Make each patch one place, then mix its channels; these convolutions have a bias, those of the levels none.

    Args:
        width: channels that come in and go out.
        kernel: height and width of a patch.

    >>> shrink(512, (8, 8))[0]
    Conv2d(512, 512, kernel_size=(8, 8), stride=(8, 8))
    """
    return nn.Sequential(
        nn.Conv2d(width, width, kernel, stride=kernel),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, width, 1),
        nn.BatchNorm2d(width),
        nn.ReLU(),
    )


def _mixing(entering: int, leaving: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(entering, leaving, 1, bias=False), nn.BatchNorm2d(leaving), nn.ReLU())

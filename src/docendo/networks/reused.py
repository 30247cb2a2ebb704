"""A network that ends in another one's head, as in SimKD (Chen et al., CVPR 2022)."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor, nn

from docendo.errors import DocendoError
from docendo.networks.staged import Layout, StagedNetwork

Shape = tuple[int, int, int]

JOINED_BY = "+"
"""Stands in the architecture between the network whose stages these are and the one whose head it is."""


class Reused(StagedNetwork):
    """The stages of one network, a projector, and a copy of another's head, which never trains its BatchNorm.

    The projector belongs to the last stage, whose maps then have the shape of the other's last stage: averaged to its
    sides, then convolutions of 1x1, 3x3 and 1x1 with BatchNorm and ReLU between, the first two of half its width.

    Args:
        stages_of: the network whose stages these are; they are shared, its head is left out.
        head_of: the network whose head is copied.

    Raises:
        DocendoError: if they were made for other images or classes, or that head reads more than maps can tell.
    """

    def __init__(self, stages_of: StagedNetwork, head_of: StagedNetwork) -> None:
        super().__init__()
        mine, theirs = stages_of.spec, head_of.spec
        if JOINED_BY in mine.architecture:
            raise DocendoError(
                f"{mine.architecture} ends in another network's head already: name the network of its stages"
            )
        if (mine.classes, mine.image_size) != (theirs.classes, theirs.image_size):
            raise DocendoError(
                f"{mine.architecture} for {mine.classes} classes of {mine.image_size}-pixel images cannot end in the "
                f"head of {theirs.architecture} for {theirs.classes} of {theirs.image_size}: choose networks for the "
                "same images"
            )
        layout = head_of.layouts[-1]
        if layout.prefix:
            raise DocendoError(
                f"the head of {theirs.architecture} reads a class token, which a projector of maps does not give: "
                "choose a teacher whose head pools its last stage"
            )
        self.spec = replace(mine, architecture=f"{mine.architecture}{JOINED_BY}{theirs.architecture}")
        self.own_layouts = (*stages_of.layouts[:-1], layout)
        self.body = nn.ModuleList(stages_of.stages)
        self.projector = _Projector(stages_of.layouts[-1], stages_of.shapes[-1], layout, head_of.shapes[-1])
        self.reused = copy.deepcopy(head_of.head).eval()

    def cut(self) -> tuple[Sequence[nn.Module], nn.Module]:
        """Give the stages, the last with the projector behind it, and the reused head."""
        *stages, last = self.body
        return (*stages, nn.Sequential(last, self.projector)), self.reused

    @property
    def layouts(self) -> tuple[Layout, ...]:
        """How each stage's raw output is laid out; the last as that of the network whose head this is."""
        return self.own_layouts

    def train(self, mode: bool = True) -> Reused:
        """Switch between training and evaluation, but for the reused head, which stays in evaluation."""
        super().train(mode)
        self.reused.eval()
        return self


class _Projector(nn.Module):
    def __init__(self, source: Layout, entering: Shape, target: Layout, leaving: Shape) -> None:
        super().__init__()
        self.source, self.target = source, target
        channels, *sides = leaving
        width = max(1, channels // 2)
        self.layers = nn.Sequential(
            nn.Identity() if entering[1:] == leaving[1:] else nn.AdaptiveAvgPool2d(tuple(sides)),
            nn.Conv2d(entering[0], width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, raw: Tensor) -> Tensor:
        """Map the raw output of one network's last stage to that of another's."""
        return self.target.raw(self.layers(self.source.maps(raw)))

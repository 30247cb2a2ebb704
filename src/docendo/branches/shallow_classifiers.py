"""Classifiers on a network's earlier stages, as in Be Your Own Teacher (Zhang et al., ICCV 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from docendo.branches.heads import Heads, kernels
from docendo.networks.staged import PoolHead, as_maps
from docendo.networks.zoo.resnet import initialise


class ShallowClassifiers(nn.ModuleDict):
    """A classifier on each stage of a network but the last, behind a bottleneck that gives it the last stage's shape.

    Convolutions start as in the released codes, from a normal distribution by their fan-out.

    Args:
        network: the staged network that they hang on; only its shapes are read.

    Raises:
        DocendoError: if it has one stage, or its sides grow.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        shapes, classes = network.shapes, network.spec.classes
        self.layouts = network.layouts
        width = shapes[-1][0]
        for i, ((channels, _, _), kernel) in enumerate(zip(shapes[:-1], kernels(shapes), strict=True), start=1):
            self[f"stage{i}"] = PoolHead(nn.Linear(width, classes), before=bottleneck(channels, width, kernel))
        initialise(self)

    def forward(self, stages: Sequence[Tensor]) -> Heads:
        """Give what the classifiers say of a network's stage outputs; these stay attached, so the network learns too.

        Args:
            stages: the raw outputs of all stages.
        """
        maps = as_maps(self.layouts, stages)
        outputs = {name: head(of) for (name, head), of in zip(self.items(), maps[:-1], strict=True)}
        return Heads(outputs, maps[-1].mean(dim=(2, 3)))


def bottleneck(entering: int, leaving: int, kernel: tuple[int, int]) -> nn.Sequential:
    """Reduce the channels to a quarter of those that go out, make each patch one place, and widen the channels.

    Args:
        entering: channels that come in.
        leaving: channels that go out.
        kernel: height and width of a patch.

    >>> bottleneck(64, 512, (8, 8))[3]
    Conv2d(128, 128, kernel_size=(8, 8), stride=(8, 8))
    """
    inner = max(1, leaving // 4)
    return nn.Sequential(
        nn.Conv2d(entering, inner, 1),
        nn.BatchNorm2d(inner),
        nn.ReLU(),
        nn.Conv2d(inner, inner, kernel, stride=kernel),
        nn.BatchNorm2d(inner),
        nn.ReLU(),
        nn.Conv2d(inner, leaving, 1),
        nn.BatchNorm2d(leaving),
        nn.ReLU(),
    )

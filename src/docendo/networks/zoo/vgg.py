"""VGG for small images: vgg8 to vgg19, with BatchNorm, a global average pool and one linear layer.

Five groups of plain 3x3 convolutions, after Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale
Image Recognition", ICLR 2015. The weights files of the distillation literature have no pool between the last two
groups, except for images of 64 pixels: elsewhere these two groups have one spatial size and are one stage.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from docendo.networks.staged import NetworkSpec, PoolHead, StagedNetwork
from docendo.networks.zoo.limits import require_halvings
from docendo.networks.zoo.resnet import initialise

FAMILY: dict[str, tuple[int, int, int, int, int]] = {
    "vgg8": (1, 1, 1, 1, 1),
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}
"""Name to convolutions in each group."""

FOURTH_POOL = 64
"""The side of images for which there is a pool before the last group too."""


class VGG(StagedNetwork):
    """A VGG of four stages, or five for images of 64 pixels.

    Args:
        spec: classes, channels and image size, at least 8.
        convolutions: how many each of the five groups has.

    Raises:
        DocendoError: for images so small that a pool would leave nothing of them.
    """

    def __init__(self, spec: NetworkSpec, convolutions: tuple[int, int, int, int, int]) -> None:
        super().__init__()
        require_halvings(spec, 3)
        self.spec = spec
        first, second, third, fourth, fifth = convolutions
        self.block0 = _group(spec.channels, 64, first)
        self.block1 = _group(64, 128, second)
        self.block2 = _group(128, 256, third)
        self.block3 = _group(256, 512, fourth)
        self.block4 = _group(512, 512, fifth)
        self.classifier = nn.Linear(512, spec.classes)
        initialise(self)
        nn.init.normal_(self.classifier.weight, 0.0, 0.01)
        nn.init.zeros_(self.classifier.bias)

    def cut(self) -> tuple[Sequence[nn.Module], nn.Module]:
        """Group the layers: each pool with the group that it feeds, groups of one spatial size in one stage."""
        second = nn.Sequential(nn.MaxPool2d(2), self.block1)
        third = nn.Sequential(nn.MaxPool2d(2), self.block2)
        fourth = nn.Sequential(nn.MaxPool2d(2), self.block3)
        if self.spec.image_size == FOURTH_POOL:
            last = [fourth, nn.Sequential(nn.MaxPool2d(2), self.block4)]
        else:
            last = [fourth.append(self.block4)]
        return (self.block0, second, third, *last), PoolHead(self.classifier)


def _group(inputs: int, outputs: int, convolutions: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in (inputs, *[outputs] * (convolutions - 1)):
        layers += [nn.Conv2d(width, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers)

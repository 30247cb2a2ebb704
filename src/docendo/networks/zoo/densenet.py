"""DenseNet-BC for small images: densenet_bc_100_12 is 100 layers deep, each adding 12 channels.

Three dense blocks of bottleneck layers with transitions that halve channels and maps, after Huang et al., "Densely
Connected Convolutional Networks", CVPR 2017, without dropout. Stage outputs are everything the layers have put side by
side: the next BatchNorm and ReLU belong to the next stage, or to the head.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from docendo.networks.staged import NetworkSpec, PoolHead, StagedNetwork
from docendo.networks.zoo.limits import require_halvings
from docendo.networks.zoo.resnet import initialise


class DenseLayer(nn.Module):
    """BatchNorm, ReLU and convolution, 1x1 and then 3x3, whose output is put beside the input.

    Args:
        inputs: channels that come in.
        growth: channels that are added.
    """

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, 4 * growth, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(4 * growth)
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, inputs + growth, H, W)."""
        new = self.conv1(torch.relu(self.bn1(x)))
        return torch.cat((x, self.conv2(torch.relu(self.bn2(new)))), dim=1)


class Transition(nn.Module):
    """BatchNorm, ReLU, a 1x1 convolution to half of the channels, and an average pool.

    Args:
        inputs: channels that come in.
    """

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, inputs // 2, 1, bias=False)
        self.pool = nn.AvgPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, inputs / 2, H / 2, W / 2)."""
        halved: Tensor = self.pool(self.conv1(torch.relu(self.bn1(x))))
        return halved


class DenseNet(StagedNetwork):
    """A DenseNet-BC of three stages.

    Args:
        spec: classes, channels and image size, at least 4.
        depth: number of layers, 6 * n + 4.
        growth: channels that each layer adds.

    Raises:
        DocendoError: for images so small that a pool would leave nothing of them.
    """

    def __init__(self, spec: NetworkSpec, depth: int, growth: int) -> None:
        super().__init__()
        require_halvings(spec, 2)
        self.spec = spec
        layers = (depth - 4) // 6
        added = layers * growth
        first = 2 * growth + added
        second = first // 2 + added
        third = second // 2 + added
        self.conv1 = nn.Conv2d(spec.channels, 2 * growth, 3, padding=1, bias=False)
        self.dense1 = _block(2 * growth, layers, growth)
        self.trans1 = Transition(first)
        self.dense2 = _block(first // 2, layers, growth)
        self.trans2 = Transition(second)
        self.dense3 = _block(second // 2, layers, growth)
        self.bn = nn.BatchNorm2d(third)
        self.fc = nn.Linear(third, spec.classes)
        initialise(self)

    def cut(self) -> tuple[Sequence[nn.Module], nn.Module]:
        """Group the layers: stem with the first block, transitions with the next, the last BatchNorm with the head."""
        stages = (
            nn.Sequential(self.conv1, self.dense1),
            nn.Sequential(self.trans1, self.dense2),
            nn.Sequential(self.trans2, self.dense3),
        )
        return stages, PoolHead(self.fc, before=nn.Sequential(self.bn, nn.ReLU()))


def _block(inputs: int, layers: int, growth: int) -> nn.Sequential:
    return nn.Sequential(*(DenseLayer(inputs + i * growth, growth) for i in range(layers)))

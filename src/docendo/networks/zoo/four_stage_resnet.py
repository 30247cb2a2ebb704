"""ResNets and ResNeXts of four stages for small images: ResNet18, ResNet34, ResNet50 and their ResNeXt kin.

ResNet18w16 is ResNet18 with a quarter of the channels, 16 to 128: for studies on a CPU.

The networks of He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, table 1, and Xie et al.,
"Aggregated Residual Transformations for Deep Neural Networks", CVPR 2017 (32x4d), with a 3x3 stem of stride 1 and no
max-pool. The basic blocks of ResNeXt18 and ResNeXt34 are those of zhengli427/TESKD: twice as wide inside and not
grouped, for parallel paths of two layers amount to one wide block, as the paper notes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from docendo.networks.staged import NetworkSpec, PoolHead, StagedNetwork
from docendo.networks.zoo.resnet import initialise

DEPTHS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}
"""Depth to blocks in each group; networks of depth 50 have bottlenecks."""

GROUPS = 32
"""Of the 3x3 convolutions in the bottlenecks of ResNeXt."""


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around which the input is added, ReLU last.

    Args:
        inputs: channels that come in.
        width: channels that go out.
        stride: of the first convolution.
        aggregated: whether it is ResNeXt's, twice as wide inside.
    """

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, aggregated: bool) -> None:
        super().__init__()
        inner = 2 * width if aggregated else width
        self.conv1 = nn.Conv2d(inputs, inner, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut = _shortcut(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, width, H / stride, W / stride)."""
        change = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(change + self.shortcut(x))


class Bottleneck(nn.Module):
    """A 1x1, a 3x3 and a 1x1 convolution around which the input is added, ReLU last.

    Args:
        inputs: channels that come in.
        width: a quarter of the channels that go out.
        stride: of the 3x3 convolution.
        aggregated: whether it is ResNeXt's, twice as wide inside, its 3x3 convolution grouped.
    """

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int, aggregated: bool) -> None:
        super().__init__()
        inner, groups = (2 * width, GROUPS) if aggregated else (width, 1)
        outputs = self.expansion * width
        self.conv1 = nn.Conv2d(inputs, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, padding=1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.shortcut = _shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, 4 * width, H / stride, W / stride)."""
        change = torch.relu(self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))))
        return torch.relu(self.bn3(self.conv3(change)) + self.shortcut(x))


class FourStageResNet(StagedNetwork):
    """A ResNet or ResNeXt of four stages, 64 to 512 wide, for small images; or a narrower one.

    Args:
        spec: classes, channels and image size.
        depth: 18, 34 or 50.
        aggregated: whether it is a ResNeXt.
        width: channels of the stem and of the first group's blocks; each later group has twice as many.
    """

    def __init__(self, spec: NetworkSpec, depth: int, aggregated: bool, width: int = 64) -> None:
        super().__init__()
        self.spec = spec
        block = Bottleneck if depth == 50 else BasicBlock

        def group(inputs: int, of: int, blocks: int, stride: int) -> nn.Sequential:
            later = (block(block.expansion * of, of, 1, aggregated) for _ in range(blocks - 1))
            return nn.Sequential(block(inputs, of, stride, aggregated), *later)

        first, second, third, fourth = DEPTHS[depth]
        self.conv1 = nn.Conv2d(spec.channels, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = group(width, width, first, stride=1)
        self.layer2 = group(width * block.expansion, 2 * width, second, stride=2)
        self.layer3 = group(2 * width * block.expansion, 4 * width, third, stride=2)
        self.layer4 = group(4 * width * block.expansion, 8 * width, fourth, stride=2)
        self.linear = nn.Linear(8 * width * block.expansion, spec.classes)
        initialise(self)

    def cut(self) -> tuple[Sequence[nn.Module], nn.Module]:
        """Group the layers: stem with the first group, then a group each."""
        first = nn.Sequential(self.conv1, self.bn1, nn.ReLU(), self.layer1)
        return (first, self.layer2, self.layer3, self.layer4), PoolHead(self.linear)


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Module:
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

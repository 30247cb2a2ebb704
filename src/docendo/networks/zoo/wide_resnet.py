"""Wide ResNets for 32x32 images: wrn_40_2 is 40 layers deep and 2 times as wide as the narrow ResNets.

Pre-activation blocks in three groups, after Zagoruyko and Komodakis, "Wide Residual Networks", BMVC 2016, without
dropout. Stage outputs are the raw sums of the residual branches: the next BatchNorm and ReLU belong to the next stage,
or to the head.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from docendo.networks.staged import NetworkSpec, PoolHead, StagedNetwork
from docendo.networks.zoo.resnet import initialise


class PreActivationBlock(nn.Module):
    """BatchNorm, ReLU, 3x3 convolution, twice, added to the input.

    Where the channels change, the shortcut is a 1x1 convolution of the activated input instead.

    Args:
        inputs: channels that come in.
        outputs: channels that go out.
        stride: of the first convolution and of the shortcut.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.convShortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        """Map raw sums (B, inputs, H, W) to raw sums (B, outputs, H / stride, W / stride)."""
        active = torch.relu(self.bn1(x))
        change: Tensor = self.conv2(torch.relu(self.bn2(self.conv1(active))))
        return change + (x if self.convShortcut is None else self.convShortcut(active))


class Group(nn.Module):
    """Blocks at one spatial size, in a list called `layer` as the field's weights files have it."""

    def __init__(self, inputs: int, outputs: int, blocks: int, stride: int) -> None:
        super().__init__()
        later = (PreActivationBlock(outputs, outputs, 1) for _ in range(blocks - 1))
        self.layer = nn.Sequential(PreActivationBlock(inputs, outputs, stride), *later)

    def forward(self, x: Tensor) -> Tensor:
        """Run the blocks in order."""
        features: Tensor = self.layer(x)
        return features


class WideResNet(StagedNetwork):
    """A wide ResNet of three stages.

    Args:
        spec: classes, channels and image size.
        depth: number of layers, 6 * n + 4.
        factor: how many times wider than 16, 32, 64 the groups are.
    """

    def __init__(self, spec: NetworkSpec, depth: int, factor: int) -> None:
        super().__init__()
        self.spec = spec
        blocks = (depth - 4) // 6
        self.conv1 = nn.Conv2d(spec.channels, 16, 3, padding=1, bias=False)
        self.block1 = Group(16, 16 * factor, blocks, stride=1)
        self.block2 = Group(16 * factor, 32 * factor, blocks, stride=2)
        self.block3 = Group(32 * factor, 64 * factor, blocks, stride=2)
        self.bn1 = nn.BatchNorm2d(64 * factor)
        self.fc = nn.Linear(64 * factor, spec.classes)
        initialise(self)
        nn.init.zeros_(self.fc.bias)

    def cut(self) -> tuple[Sequence[nn.Module], nn.Module]:
        """Group the layers: stem with the first group; the last BatchNorm and ReLU with the head."""
        first = nn.Sequential(self.conv1, self.block1)
        return (first, self.block2, self.block3), PoolHead(self.fc, before=nn.Sequential(self.bn1, nn.ReLU()))

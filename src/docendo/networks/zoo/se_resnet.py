"""SE-ResNets of four stages for small images: SEResNet18, SEResNet34, SEResNet50.

After Hu et al., "Squeeze-and-Excitation Networks", CVPR 2018, with a 3x3 stem of stride 1 and no max-pool. As in
weiaicunzai/pytorch-cifar100 and zhengli427/TESKD, whose layer names these are, convolutions have a bias, and a block's
channels are weighed after one more ReLU; the paper weighs what comes out of the last BatchNorm.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from docendo.networks.staged import NetworkSpec, PoolHead, StagedNetwork
from docendo.networks.zoo.four_stage_resnet import DEPTHS

REDUCTION = 16
"""How many times fewer units than channels decide on the channels' weights."""


class WeighedBlock(nn.Module):
    """Convolutions whose channels are weighed by what they hold on average, around which the input is added.

    Args:
        inputs: channels that come in.
        width: channels that go out, or a quarter of them for a bottleneck.
        stride: of the first 3x3 convolution.
        bottleneck: whether it has a 1x1, a 3x3 and a 1x1 convolution instead of two 3x3 ones.
    """

    def __init__(self, inputs: int, width: int, stride: int, bottleneck: bool) -> None:
        super().__init__()
        outputs = 4 * width if bottleneck else width
        if bottleneck:
            layers = (
                *_activated(inputs, width, 1),
                *_activated(width, width, 3, stride),
                *_activated(width, outputs, 1),
            )
        else:
            layers = (*_activated(inputs, width, 3, stride), *_activated(width, outputs, 3))
        self.residual = nn.Sequential(*layers)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))
        self.excitation = nn.Sequential(
            nn.Linear(outputs, outputs // REDUCTION),
            nn.ReLU(),
            nn.Linear(outputs // REDUCTION, outputs),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        change: Tensor = self.residual(x)
        weights = self.excitation(change.mean(dim=(2, 3)))
        return torch.relu(change * weights[:, :, None, None] + self.shortcut(x))


class SEResNet(StagedNetwork):
    """An SE-ResNet of four stages, 64 to 512 wide, for small images.

    Args:
        spec: classes, channels and image size.
        depth: 18, 34 or 50.
    """

    def __init__(self, spec: NetworkSpec, depth: int) -> None:
        super().__init__()
        self.spec = spec
        bottleneck = depth == 50
        expansion = 4 if bottleneck else 1

        def group(inputs: int, width: int, blocks: int, stride: int) -> nn.Sequential:
            later = (WeighedBlock(expansion * width, width, 1, bottleneck) for _ in range(blocks - 1))
            return nn.Sequential(WeighedBlock(inputs, width, stride, bottleneck), *later)

        first, second, third, fourth = DEPTHS[depth]
        self.pre = nn.Sequential(*_activated(spec.channels, 64, 3))
        self.stage1 = group(64, 64, first, stride=1)
        self.stage2 = group(64 * expansion, 128, second, stride=2)
        self.stage3 = group(128 * expansion, 256, third, stride=2)
        self.stage4 = group(256 * expansion, 512, fourth, stride=2)
        self.linear = nn.Linear(512 * expansion, spec.classes)

    def cut(self) -> tuple[Sequence[nn.Module], nn.Module]:
        """Group the layers: stem with the first group, then a group each."""
        return (nn.Sequential(self.pre, self.stage1), self.stage2, self.stage3, self.stage4), PoolHead(self.linear)


def _activated(inputs: int, outputs: int, kernel: int, stride: int = 1) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2), nn.BatchNorm2d(outputs), nn.ReLU()

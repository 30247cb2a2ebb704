"""MobileNetV2 for small images: half as wide as the original, halving its maps once less.

Inverted residuals after Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018: channels
are expanded six times, filtered one by one, and brought back without an activation. The second group has stride 1 here,
so that images of 32 pixels end as maps of 2. Stage outputs are linear bottlenecks.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from docendo.networks.staged import NetworkSpec, PoolHead, StagedNetwork
from docendo.networks.zoo.resnet import initialise

STEM = 16
GROUPS = ((1, 8, 1, 1), (6, 12, 2, 1), (6, 16, 3, 2), (6, 32, 4, 2), (6, 48, 3, 1), (6, 80, 3, 2), (6, 160, 1, 1))
"""Expansion, channels, blocks and stride of each group: the paper's channels halved."""
LAST = 1280


class InvertedResidual(nn.Module):
    """A 1x1 expansion, a 3x3 convolution of each channel by itself, a linear 1x1 projection, added to an equal input.

    Args:
        inputs: channels that come in.
        outputs: channels that go out.
        stride: of the 3x3 convolution.
        expansion: how many times wider it is inside.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.conv = nn.Sequential(
            *_activated(nn.Conv2d(inputs, inner, 1, bias=False)),
            *_activated(nn.Conv2d(inner, inner, 3, stride, padding=1, groups=inner, bias=False)),
            nn.Conv2d(inner, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        change: Tensor = self.conv(x)
        return x + change if self.adds else change


class MobileNetV2(StagedNetwork):
    """A MobileNetV2 of four stages for small images.

    Args:
        spec: classes, channels and image size.
    """

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.spec = spec
        self.conv1 = nn.Sequential(*_activated(nn.Conv2d(spec.channels, STEM, 3, 2, padding=1, bias=False)))
        self.blocks = nn.ModuleList()
        width = STEM
        for expansion, channels, count, stride in GROUPS:
            later = (InvertedResidual(channels, channels, 1, expansion) for _ in range(count - 1))
            self.blocks.append(nn.Sequential(InvertedResidual(width, channels, stride, expansion), *later))
            width = channels
        self.conv2 = nn.Sequential(*_activated(nn.Conv2d(width, LAST, 1, bias=False)))
        classifier = nn.Linear(LAST, spec.classes)
        self.classifier = nn.Sequential(classifier)
        initialise(self)
        nn.init.normal_(classifier.weight, 0.0, 0.01)
        nn.init.zeros_(classifier.bias)

    def cut(self) -> tuple[Sequence[nn.Module], nn.Module]:
        """Group the layers by spatial size: stem with the first two groups, the last 1x1 convolution with the head."""
        stem, groups = self.conv1, list(self.blocks)
        stages = [[stem, *groups[:2]], groups[2:3], groups[3:5], groups[5:]]
        return [nn.Sequential(*layers) for layers in stages], PoolHead(self.classifier, before=self.conv2)


def _activated(convolution: nn.Conv2d) -> tuple[nn.Conv2d, nn.BatchNorm2d, nn.ReLU]:
    return convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU()

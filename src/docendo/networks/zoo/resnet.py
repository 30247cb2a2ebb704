"""The narrow ResNets for 32x32 images: resnet8 to resnet110, and the four times wider resnet8x4 and resnet32x4.

Three groups of basic blocks at strides 1, 2, 2, after He et al., "Deep Residual Learning for Image Recognition", CVPR
2016, section 4.2, with a 1x1 convolution and BatchNorm on the shortcut where the shape changes (the paper pads with
zeros; weights files of the distillation literature have the convolution).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from docendo.networks.staged import NetworkSpec, PoolHead, StagedNetwork

NARROW = (16, 16, 32, 64)
WIDE = (32, 64, 128, 256)

FAMILY: dict[str, tuple[int, tuple[int, ...]]] = {
    "resnet8": (1, NARROW),
    "resnet14": (2, NARROW),
    "resnet20": (3, NARROW),
    "resnet32": (5, NARROW),
    "resnet44": (7, NARROW),
    "resnet56": (9, NARROW),
    "resnet110": (18, NARROW),
    "resnet8x4": (1, WIDE),
    "resnet32x4": (5, WIDE),
}
"""Name to (blocks in each group, widths of stem and groups)."""


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around which the input is added, ReLU last.

    Args:
        inputs: channels that come in.
        outputs: channels that go out.
        stride: of the first convolution.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False),
                nn.BatchNorm2d(outputs),
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        change = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(change + self.downsample(x))


class ResNet(StagedNetwork):
    """A ResNet of three stages for small images; of depth 6 * blocks + 2.

    Args:
        spec: classes, channels and image size.
        blocks: basic blocks in each group.
        widths: channels of the stem and of the three groups.
    """

    def __init__(self, spec: NetworkSpec, blocks: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.spec = spec
        stem, first, second, third = widths
        self.conv1 = nn.Conv2d(spec.channels, stem, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.layer1 = _group(stem, first, blocks, stride=1)
        self.layer2 = _group(first, second, blocks, stride=2)
        self.layer3 = _group(second, third, blocks, stride=2)
        self.fc = nn.Linear(third, spec.classes)
        initialise(self)

    def cut(self) -> tuple[Sequence[nn.Module], nn.Module]:
        """Group the layers: stem with the first group, then a group each."""
        first = nn.Sequential(self.conv1, self.bn1, nn.ReLU(), self.layer1)
        return (first, self.layer2, self.layer3), PoolHead(self.fc)


def initialise(network: nn.Module) -> None:
    """Draw convolutions from a normal of deviation sqrt(2 / (k * k * outputs)) and set BatchNorm to scale 1, shift 0.

    The fan-out rule of He et al., "Delving Deep into Rectifiers", ICCV 2015; biases of convolutions start at 0, linear
    layers keep PyTorch's own start.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            height, width = module.kernel_size
            nn.init.normal_(module.weight, 0.0, math.sqrt(2 / (height * width * module.out_channels)))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)


def _group(inputs: int, outputs: int, blocks: int, stride: int) -> nn.Sequential:
    later = (BasicBlock(outputs, outputs, 1) for _ in range(blocks - 1))
    return nn.Sequential(BasicBlock(inputs, outputs, stride), *later)

"""ShuffleNet and ShuffleNetV2 for small images: ShuffleV1 (three groups) and ShuffleV2 (size 1), with a 1x1 stem.

After Zhang et al., "ShuffleNet: An Extremely Efficient Convolutional Neural Network for Mobile Devices", CVPR 2018, and
Ma et al., "ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design", ECCV 2018. The stem keeps the
size of the image, and each of the three stages begins by halving it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from docendo.networks.staged import NetworkSpec, PoolHead, StagedNetwork

STEM = 24
BLOCKS = (4, 8, 4)
"""Blocks in each stage, the halving one among them."""


def shuffle(x: Tensor, groups: int) -> Tensor:
    """Deal the channels of (B, C, H, W) out like cards: the first of each group, then the second of each, and so on.

    >>> shuffle(torch.arange(6).view(1, 6, 1, 1), groups=2).flatten().tolist()
    [0, 3, 1, 4, 2, 5]
    """
    return torch.unflatten(x, 1, (groups, -1)).transpose(1, 2).flatten(1, 2)


class GroupedBottleneck(nn.Module):
    """ShuffleNet's block: grouped 1x1 convolution, shuffle, 3x3 convolution of each channel, grouped 1x1 convolution.

    The input is added; when the block halves the maps, the averaged input is put beside it instead.

    Args:
        inputs: channels that come in.
        outputs: channels that go out, those of the input included where it is put beside.
        halves: whether the maps are halved.
        groups: of the 1x1 convolutions; the first is not grouped where it reads the stem, which is too thin.
    """

    def __init__(self, inputs: int, outputs: int, halves: bool, groups: int = 3) -> None:
        super().__init__()
        made = outputs - inputs if halves else outputs
        inner = made // 4
        self.groups = 1 if inputs == STEM else groups
        self.conv1 = nn.Conv2d(inputs, inner, 1, groups=self.groups, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, 2 if halves else 1, padding=1, groups=inner, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, made, 1, groups=groups, bias=False)
        self.bn3 = nn.BatchNorm2d(made)
        self.halve = nn.AvgPool2d(3, 2, padding=1) if halves else None

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H, W) or half that side."""
        change = shuffle(torch.relu(self.bn1(self.conv1(x))), self.groups)
        change = self.bn3(self.conv3(torch.relu(self.bn2(self.conv2(change)))))
        return torch.relu(change + x if self.halve is None else torch.cat((change, self.halve(x)), dim=1))


class SplitBlock(nn.Module):
    """ShuffleNetV2's block: half of the channels pass through, the other half is convolved, and all are shuffled.

    Args:
        channels: that come in and go out.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.conv1 = nn.Conv2d(half, half, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(half)
        self.conv2 = nn.Conv2d(half, half, 3, padding=1, groups=half, bias=False)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv3 = nn.Conv2d(half, half, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(half)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, H, W) to the same shape."""
        kept, changed = x.chunk(2, dim=1)
        changed = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(changed)))))
        return shuffle(torch.cat((kept, torch.relu(self.bn3(self.conv3(changed)))), dim=1), groups=2)


class HalvingBlock(nn.Module):
    """ShuffleNetV2's block that halves the maps: two branches that both read all channels, shuffled together.

    Args:
        inputs: channels that come in.
        outputs: channels that go out, half of them from each branch.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        half = outputs // 2
        self.conv1 = nn.Conv2d(inputs, inputs, 3, 2, padding=1, groups=inputs, bias=False)
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv2 = nn.Conv2d(inputs, half, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv3 = nn.Conv2d(inputs, half, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(half)
        self.conv4 = nn.Conv2d(half, half, 3, 2, padding=1, groups=half, bias=False)
        self.bn4 = nn.BatchNorm2d(half)
        self.conv5 = nn.Conv2d(half, half, 1, bias=False)
        self.bn5 = nn.BatchNorm2d(half)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H / 2, W / 2)."""
        short = torch.relu(self.bn2(self.conv2(self.bn1(self.conv1(x)))))
        long = self.bn4(self.conv4(torch.relu(self.bn3(self.conv3(x)))))
        return shuffle(torch.cat((short, torch.relu(self.bn5(self.conv5(long)))), dim=1), groups=2)


class ShuffleNet(StagedNetwork):
    """Three stages of blocks behind a 1x1 stem: what both ShuffleNets have in common.

    Args:
        spec: classes, channels and image size.
        widths: channels that each stage gives.
        halving: makes the block that begins a stage, from the channels that come in and go out.
        later: makes each block after it.
    """

    linear: nn.Linear

    def __init__(
        self,
        spec: NetworkSpec,
        widths: tuple[int, int, int],
        halving: Callable[[int, int], nn.Module],
        later: Callable[[int], nn.Module],
    ) -> None:
        super().__init__()
        self.spec = spec
        self.conv1 = nn.Conv2d(spec.channels, STEM, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(STEM)
        self.layer1, self.layer2, self.layer3 = (
            nn.Sequential(halving(inputs, outputs), *(later(outputs) for _ in range(blocks - 1)))
            for (inputs, outputs), blocks in zip(pairwise((STEM, *widths)), BLOCKS, strict=True)
        )

    def cut(self) -> tuple[Sequence[nn.Module], nn.Module]:
        """Group the layers: stem with the first group, then a group each; what is before the pool with the head."""
        first = nn.Sequential(self.conv1, self.bn1, nn.ReLU(), self.layer1)
        return (first, self.layer2, self.layer3), PoolHead(self.linear, before=self.before_the_pool())

    def before_the_pool(self) -> nn.Module | None:
        """Give the layers between the last stage and the pool, if there are any."""
        return None


class ShuffleNetV1(ShuffleNet):
    """A ShuffleNet of three stages for small images.

    Args:
        spec: classes, channels and image size.
    """

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__(
            spec,
            (240, 480, 960),
            halving=lambda inputs, outputs: GroupedBottleneck(inputs, outputs, halves=True),
            later=lambda channels: GroupedBottleneck(channels, channels, halves=False),
        )
        self.linear = nn.Linear(960, spec.classes)


class ShuffleNetV2(ShuffleNet):
    """A ShuffleNetV2 of three stages for small images.

    Args:
        spec: classes, channels and image size.
    """

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__(spec, (116, 232, 464), halving=HalvingBlock, later=SplitBlock)
        self.conv2 = nn.Conv2d(464, 1024, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(1024)
        self.linear = nn.Linear(1024, spec.classes)

    def before_the_pool(self) -> nn.Module:
        """Give the last 1x1 convolution."""
        return nn.Sequential(self.conv2, self.bn2, nn.ReLU())

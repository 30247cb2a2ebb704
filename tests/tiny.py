"""Networks so small that every method can be tried in every way: native ones, cut ones, and one of tokens.

Importing this module makes them known by name, also in processes that tests spawn.
"""

from itertools import pairwise

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from docendo.networks import NetworkSpec, StagedNetwork, register
from docendo.networks.staged import PoolHead


def layer(entering: int, leaving: int, stride: int, *, normalised: bool = True) -> nn.Sequential:
    convolution = nn.Conv2d(entering, leaving, 3, stride, padding=1, bias=not normalised)
    return nn.Sequential(convolution, *([nn.BatchNorm2d(leaving)] if normalised else []), nn.ReLU())


class Native(StagedNetwork):
    """A stage of one layer for each width; all are normalised, or only the first."""

    def __init__(self, spec: NetworkSpec, *widths: int, normalised: bool = True) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        for i, (entering, leaving) in enumerate(pairwise((spec.channels, *widths))):
            self.layers.append(layer(entering, leaving, 2 if i else 1, normalised=normalised or not i))
        self.classifier = nn.Linear(widths[-1], spec.classes)

    def cut(self) -> tuple[list[nn.Module], nn.Module]:
        return list(self.layers), PoolHead(self.classifier)


class Own(nn.Module):
    """A user's own module, not written for docendo: it has to be cut. Its first stage has two layers."""

    def __init__(self, spec: NetworkSpec, widths: tuple[int, int, int]) -> None:
        super().__init__()
        self.stem = nn.Conv2d(spec.channels, widths[0], 3, padding=1)
        self.body = nn.Sequential(
            layer(widths[0], widths[0], 1), layer(widths[0], widths[1], 2), layer(widths[1], widths[2], 2)
        )
        self.fc = nn.Linear(widths[2], spec.classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(torch.flatten(nn.functional.adaptive_avg_pool2d(self.body(self.stem(images)), 1), 1))


def tokens(spec: NetworkSpec) -> nn.Module:
    """A ViT: three stages of equal size, whose features are a class token and those of 4 x 4 patches."""
    return VisionTransformer(
        img_size=spec.image_size,
        patch_size=2,
        in_chans=spec.channels,
        num_classes=spec.classes,
        embed_dim=8,
        depth=3,
        num_heads=2,
        mlp_ratio=2,
    )


register("tiny", lambda spec: Native(spec, 8, 12, 16))
register("tiny_wide", lambda spec: Native(spec, 8, 16, 24))
register("tiny_light", lambda spec: Native(spec, 8, 12, normalised=False))
register("tiny_light_wide", lambda spec: Native(spec, 8, 16, normalised=False))
register("tiny_own", lambda spec: Own(spec, (8, 12, 16)))
register("tiny_own_wide", lambda spec: Own(spec, (8, 16, 24)))
register("tiny_tokens", tokens)

OTHERS = ("teacher", "expert", "scratch", "peer")
NETWORKS = {
    "native": {"student": "tiny", **dict.fromkeys(OTHERS, "tiny_wide")},
    "light": {"student": "tiny_light", **dict.fromkeys(OTHERS, "tiny_light_wide")},
    "cut": {"student": "tiny_own", **dict.fromkeys(OTHERS, "tiny_own_wide")},
    "native with cut": {"student": "tiny", **dict.fromkeys(OTHERS, "tiny_own_wide")},
    "tokens": {"student": "tiny_tokens", **dict.fromkeys(OTHERS, "tiny_own_wide")},
}
"""Whole casts: a network for each role that a method may have."""


def cast(kind: str, roles: tuple[str, ...]) -> dict[str, str]:
    """Give the networks of one kind for the roles of a method."""
    return {role: NETWORKS[kind][role] for role in roles}

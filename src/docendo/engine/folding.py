"""Frozen networks at inference speed: each BatchNorm that follows a convolution becomes part of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse

from docendo.engine.networks import adaptation_of


class Folded(nn.Module):
    """A frozen network's parts, folded; `engine.networks.answer` asks it as it asks the network.

    Args:
        network: a staged network in evaluation mode; it is not changed.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.stages = nn.ModuleList(_fold(stage) for stage in network.stages)
        self.head = _fold(network.head)
        self.adaptation = adaptation_of(network)
        self.eval()


def folded(network: Any, images: Tensor) -> nn.Module:
    """Give a network that answers as this one does, up to rounding, and faster where it can be folded.

    Args:
        network: a staged network in evaluation mode.
        images: a few, to see whether both answer alike; if they do not, the network itself is given.
    """
    fast = Folded(network)
    x = y = images
    with torch.no_grad(), _exactly():
        for slow_stage, fast_stage in zip(network.stages, fast.stages, strict=True):
            x, y = slow_stage(x), fast_stage(y)
            if not _alike(x, y):
                return network  # type: ignore[no-any-return]
        alike = _alike(network.head(x).logits, fast.head(y).logits)
    return fast if alike else network


def _fold(part: nn.Module) -> nn.Module:
    try:
        return fuse(part)
    except Exception:  # tracing fails in many ways on code that looks at its input; such a part stays as it is
        return part


@contextmanager
def _exactly() -> Iterator[None]:
    """Let a GPU compute with all digits, which by default its convolutions do not."""
    kinds: tuple[Any, ...] = torch.backends.cudnn, torch.backends.cuda.matmul
    before = [kind.allow_tf32 for kind in kinds]
    try:
        for kind in kinds:
            kind.allow_tf32 = False
        yield
    finally:
        for kind, allowed in zip(kinds, before, strict=True):
            kind.allow_tf32 = allowed


def _alike(x: Tensor, y: Tensor) -> bool:
    return bool((x - y).abs().max() <= 100 * torch.finfo(x.dtype).eps * x.abs().max())

"""Frozen networks in half precision while the others learn in full: parts that answer under autocast."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from docendo.core import Output
from docendo.engine.networks import adaptation_of


class Half(nn.Module):
    """A frozen network's parts, computing in bfloat16; `engine.networks.answer` asks it as it asks the network.

    Weights stay as they are, shared with the network; what comes out has the number format of what goes in.

    Args:
        network: a staged network, or what answers for it.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.stages = nn.ModuleList(_Part(stage) for stage in network.stages)
        self.head = _Part(network.head)
        self.adaptation = adaptation_of(network)
        self.training = network.training  # whose parts are in that mode already


class _Part(nn.Module):
    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part

    def forward(self, x: Tensor) -> Tensor | Output:
        """Give the features of a stage, or the head's output without stages."""
        with torch.autocast(x.device.type, torch.bfloat16):
            y = self.part(x)
        return y.to(x.dtype) if isinstance(y, Tensor) else Output(y.logits.to(x.dtype), y.pooled.to(x.dtype), ())

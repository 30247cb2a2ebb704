"""A distillation token on a network's last stage, after DeiT (Touvron et al., ICML 2021)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

HEAD_WIDTH = 64
"""Channels of one attention head, as in DeiT."""


class DistillationToken(nn.Module):
    """A learned token that looks once at all places of the last stage, and a classifier of its own.

    With x the places, u the token: u + attention(norm(u), norm(x)), then LayerNorm and one linear layer. There is a
    head for every 64 channels, or a single one where these do not divide the channels.

    Args:
        network: the staged network whose last stage it looks at; only shapes and layouts are read.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        width = network.widths[-1]
        self.layout = network.layouts[-1]
        self.token = nn.Parameter(torch.empty(1, 1, width))
        nn.init.trunc_normal_(self.token, std=0.02)
        self.norm = nn.LayerNorm(width)
        heads = 1 if width % HEAD_WIDTH else width // HEAD_WIDTH
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.classifier = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, network.spec.classes))

    def forward(self, last: Tensor) -> Tensor:
        """Give logits (B, K) of the raw output of the last stage."""
        places = self.norm(self.layout.maps(last).flatten(2).transpose(1, 2))
        token = self.token.expand(len(places), -1, -1)
        looked, _ = self.attention(self.norm(token), places, places)
        logits: Tensor = self.classifier((token + looked).flatten(1))
        return logits

"""How wide a network's features are."""

from __future__ import annotations

from typing import Any

import torch

from docendo.core import evaluating


def pooled_width(network: Any) -> int:
    """Give the width D of the pooled features (B, D) of a staged network."""
    with evaluating(network), torch.no_grad():
        return int(network(network.example_images()).pooled.shape[1])

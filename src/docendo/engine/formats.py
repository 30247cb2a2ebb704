"""Number formats that devices know."""

from __future__ import annotations

import torch


def widest(device: torch.device) -> torch.dtype:
    """Give the number format of most digits that a device knows: float64, which Apple's GPUs lack.

    >>> widest(torch.device("cpu")), widest(torch.device("mps"))
    (torch.float64, torch.float32)
    """
    return torch.float32 if device.type == "mps" else torch.float64

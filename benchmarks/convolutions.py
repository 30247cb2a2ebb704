"""3x3 convolutions by Winograd's algorithm beside PyTorch's, on a CPU, as ratios measured in turns.

    python benchmarks/convolutions.py [--batch 64 16 4] [--channels 16 32 ...] [--sides 4 7 ...]

For each batch size, number of channels and side of the maps: how many times as fast the answer is, and forward and
backward together. All sizes are measured, also those that `docendo.engine.winograd.Convolution.pays` leaves to
PyTorch.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from docendo.engine import winograd
from docendo.engine.allocator import keep_freed_memory

LARGEST = 64 * 32 * 32 * 64
"""Numbers in the maps of a batch above which it is passed over."""


def answer(x: Tensor, weight: Tensor, to_y: Tensor) -> None:
    """Convolve as a frozen network does."""
    with torch.no_grad():
        F.conv2d(x, weight, padding=1)


def step(x: Tensor, weight: Tensor, to_y: Tensor) -> None:
    """Convolve and learn."""
    F.conv2d(x.requires_grad_(), weight.detach().requires_grad_(), padding=1).backward(to_y)
    x.grad = None
    x.requires_grad_(False)


def gain(work: Callable[..., None], standing_in: Any, *tensors: Tensor) -> float:
    """Give the median ratio of PyTorch's time to Winograd's, of seven turns; the backward pass needs no mode."""
    ratios = []
    for _ in range(8):
        times = []
        for how in (contextlib.nullcontext(), standing_in):
            began = time.perf_counter()
            with how:
                work(*tensors)
            times.append(time.perf_counter() - began)
        ratios.append(times[0] / times[1])
    return statistics.median(ratios[1:])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="3x3 convolutions by Winograd's algorithm beside PyTorch's")
    parser.add_argument("--batch", type=int, nargs="+", default=[64, 16, 4])
    parser.add_argument("--channels", type=int, nargs="+", default=[16, 32, 64, 128, 256, 512])
    parser.add_argument("--sides", type=int, nargs="+", default=[4, 7, 8, 16, 32, 56])
    arguments = parser.parse_args()
    keep_freed_memory()
    winograd.FEWEST_NUMBERS, winograd.FEWEST_TO_LEARN = 1, (1, 1)
    winograd.FEWEST_CHANNELS_TO_LEARN, winograd.LARGEST = 1, 2**62
    standing_in = winograd.Winograd()
    print(f"{torch.get_num_threads()} threads; times as fast as PyTorch: an answer, a step that learns")
    print("batch  channels  " + "  ".join(f"{f'{side}x{side}':>10}" for side in arguments.sides))
    for batch in arguments.batch:
        for channels in arguments.channels:
            cells = []
            for side in arguments.sides:
                size = batch, channels, side, side
                if batch * channels * side * side > LARGEST:
                    cells.append(" " * 9 + "-")
                    continue
                x, to_y = (torch.randn(size).contiguous(memory_format=torch.channels_last) for _ in range(2))
                weight = torch.randn(channels, channels, 3, 3).contiguous(memory_format=torch.channels_last)
                gains = [gain(work, standing_in, x, weight, to_y) for work in (answer, step)]
                cells.append("  ".join(f"{ratio:4.2f}" for ratio in gains))
            print(f"{batch:5}  {channels:8}  " + "  ".join(cells), flush=True)


if __name__ == "__main__":
    main()

"""How a network is asked when it is measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from docendo.core import Output, evaluating


@contextmanager
def asking(network: nn.Module) -> Iterator[Callable[[Tensor], Output]]:
    """Let a network answer in evaluation mode, without gradients; every part is afterwards in the mode it was in.

    Args:
        network: images to an `Output`, with one parameter or more.

    Yields:
        Images (B, C, H, W), of any floating-point type, to what the network says of them.
    """
    dtype = next(network.parameters()).dtype
    with evaluating(network), torch.no_grad():
        yield lambda images: network(images.to(dtype))

"""What a network costs: parameters, and multiply-accumulates for one image."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from docendo.core import evaluating
from docendo.errors import DocendoError
from docendo.networks.staged import StagedNetwork


def parameters(network: nn.Module) -> int:
    """Count the parameters, trainable or frozen, each once; buffers such as running means are not parameters."""
    return sum(parameter.numel() for parameter in network.parameters())


def macs(network: nn.Module, shape: tuple[int, int, int] | None = None) -> int:
    """Count the multiply-accumulates of one image in evaluation, in convolutions, matrix products and attention.

    Two floating-point operations make one; normalisation, activations and pooling are not counted, as is usual.

    Args:
        network: any module that takes one tensor of images.
        shape: (C, H, W) of the image; by default what the network's `spec` says.

    Raises:
        DocendoError: if the shape is needed and not given.
    """
    if shape is None:
        if not isinstance(network, StagedNetwork):
            raise DocendoError(f"macs of a {type(network).__name__} need the shape (C, H, W) of an image: give shape=")
        shape = (network.spec.channels, network.spec.image_size, network.spec.image_size)
    images = next(network.parameters()).new_zeros(1, *shape)
    with evaluating(network), torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(images)
    return int(counter.get_total_flops()) // 2

"""Frozen networks that are too large for one device: each process holds a share of every weight."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard

from docendo.core import Output, Phase
from docendo.engine.networks import adaptation_of
from docendo.errors import DocendoError


class Sharded(nn.Module):
    """A copy of a frozen network whose weights lie in shares on all processes; a stage is put together when it runs.

    So a device holds its share of the whole and, for a moment, one stage. All processes must ask it equally often.

    Args:
        network: a staged network in evaluation mode, or its folded parts; it is not changed, and need not be on the
            device.
        device: where the shares lie, of the kind of every process's device.
    """

    def __init__(self, network: Any, device: torch.device) -> None:
        super().__init__()
        mesh = init_device_mesh(device.type, (dist.get_world_size(),))
        self.stages = nn.ModuleList(_shard(stage, mesh, device) for stage in network.stages)
        self.head = _shard(network.head, mesh, device)
        self.adaptation = adaptation_of(network)

    def forward(self, images: Tensor) -> Output:
        """Give the output of the whole network, as the network itself would."""
        seen = []
        x = images
        for stage in self.stages:
            x = stage(x)
            seen.append(x)
        output: Output = self.head(x)
        return output._replace(stages=tuple(seen))


def sharded(phase: Phase, frozen: Mapping[str, nn.Module], device: torch.device) -> dict[str, nn.Module]:
    """Give sharded copies of the frozen networks of a phase, or of what answers for them, by role.

    Raises:
        DocendoError: if their BatchNorm statistics move, which those of copies must not.
    """
    if frozen and phase.frozen_statistics == "batch":
        raise DocendoError(
            f'phase "{phase.name}" lets the statistics of its frozen networks move, which does not go with '
            "shard_frozen=true: leave that out, or set the method to running statistics"
        )
    return {role: Sharded(network, device) for role, network in frozen.items()}


def _shard(part: nn.Module, mesh: DeviceMesh, device: torch.device) -> nn.Module:
    holder = _Part(copy.deepcopy(part).to(memory_format=torch.contiguous_format).requires_grad_(False))
    if next(part.parameters(), None) is not None:
        fully_shard(holder, mesh=mesh, reshard_after_forward=True)
    return holder.to(device)  # buffers, which are whole everywhere


class _Part(nn.Module):
    """Holds a part, as sharding changes the class of what it shards, which a traced part does not bear."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part

    def forward(self, x: Tensor) -> Any:
        return self.part(x)

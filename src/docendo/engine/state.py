"""What a phase has come to: where it stands, and all that its checkpoint holds."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lightning_fabric import Fabric
from torch import Tensor, nn

from docendo.engine.meter import LossMeter
from docendo.engine.moving_average import MovingAverage
from docendo.engine.networks import Learners, buffers_of, set_buffers
from docendo.engine.processes import everyones
from docendo.engine.random_state import rng_state, set_rng_state
from docendo.engine.recording import Group
from docendo.engine.store import Slot


@dataclass
class Position:
    """Where a phase stands: what its checkpoint holds besides the state of modules and optimiser.

    Attributes:
        epoch: finished epochs.
        step: finished batches of the epoch after them.
        seconds: time spent training.
        epoch_seconds: time spent in the unfinished epoch, evaluation excluded.
        rows: a row of metrics for each finished epoch.
        best: for each network, the epoch (from 1) and validation accuracy of its best epoch so far.
    """

    epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    epoch_seconds: float = 0.0
    rows: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, list[float]] = field(default_factory=dict)


@dataclass
class State:
    """All that a checkpoint holds; of frozen networks only the buffers, and only of those that are `drifting`."""

    learners: Learners
    drifting: Mapping[str, nn.Module]
    optimizer: Any
    ema: MovingAverage | None
    meter: LossMeter
    fabric: Fabric
    position: Position

    def save(self, slot: Slot) -> None:
        """Write the checkpoint; every process must call this, the first one writes."""
        random = everyones(self.fabric, rng_state())
        if self.fabric.is_global_zero:
            slot.save(
                {
                    "position": copy.deepcopy(vars(self.position)),
                    "learners": self.learners.roles.state_dict(),
                    "drifted": buffers_of(self.drifting),
                    "optimizer": self.optimizer.state_dict(),
                    "scaler": self.fabric.strategy.precision.state_dict(),
                    "ema": self.ema.state() if self.ema else None,
                    "meter": self.meter.state(),
                    "rng": random,
                }
            )
        self.fabric.barrier()

    def changing(self) -> dict[str, Group]:
        """Give all tensors that a step may change; those of a group are of one kind, and may be compared together."""
        of_optimizer: dict[str, list[Tensor]] = {}
        for state in self.optimizer.state.values():
            for key, value in state.items():
                if isinstance(value, Tensor):
                    of_optimizer.setdefault(f"the optimiser's {key}", []).append(value)
        named = {**dict(self.learners.roles.named_buffers()), **dict(nn.ModuleDict(self.drifting).named_buffers())}
        averaged = self.ema.module.state_dict() if self.ema else {}
        return {
            "weights": [*self.learners.roles.parameters()],
            **{name: [buffer] for name, buffer in named.items()},
            **of_optimizer,
            **{f"the average of {name}": [tensor] for name, tensor in averaged.items()},
            **{f"losses, {i}": [tensor] for i, tensor in enumerate(self.meter.tensors)},
        }

    def load(self, saved: dict[str, Any] | None) -> None:
        """Go on from a checkpoint, or from the beginning if there is none."""
        if saved is None:
            return
        self.position = Position(**saved["position"])
        self.learners.roles.load_state_dict(saved["learners"])
        set_buffers(self.drifting, saved["drifted"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.fabric.strategy.precision.load_state_dict(saved["scaler"])
        if self.ema:
            self.ema.load(saved["ema"])
        self.meter.load(saved["meter"])
        set_rng_state(saved["rng"][self.fabric.global_rank % len(saved["rng"])])

"""A second top on the trunk of a frozen network: the knowledge bridge of SOKD (Liu, Liu, Huang, BMVC 2021)."""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor, nn

from docendo.branches.adapters import adapter
from docendo.branches.widths import pooled_width
from docendo.core import Output
from docendo.errors import DocendoError

Pair = tuple[Tensor, Tensor]


def new_top(network: Any, stages: int, *, trained: bool = False) -> Any:
    """Give the last stages and the head of a network again, to be trained on the features that enter them.

    Args:
        network: a staged network; it is not changed and shares nothing with the result.
        stages: how many of its last stages, at least 0; one or more must be left for the trunk.
        trained: whether the top starts from the network's own weights instead of fresh ones.

    Returns:
        A module from the raw output of the trunk's last stage to an `Output` with the stages of the top.

    Raises:
        DocendoError: if no trunk is left, or trunk and top of this network share weights.
    """
    name, trunk = network.spec.architecture, len(network.stages) - stages
    if trunk < 1:
        raise DocendoError(
            f"a new top of {stages} stages leaves no trunk of {name}, which has {len(network.stages)} stages: "
            f"set split to at most {len(network.stages) - 1}"
        )
    top = network.tail(trunk - 1)
    below = {id(weight) for stage in network.stages[:trunk] for weight in stage.parameters()}
    if any(id(weight) in below for weight in top.parameters()):
        raise DocendoError(f"the last {stages} stages of {name} share weights with those before: set another split")
    return copy.deepcopy(top) if trained else network.fresh().tail(trunk - 1)


def with_top(network: Any, top: nn.Module, stages: int) -> Any:
    """Give a copy of a network whose last stages and head are those of a top that `new_top` gave.

    Args:
        network: the network of the trunk, as it is now.
        top: what stands on it.
        stages: how many stages the top has, as `new_top` was asked for.
    """
    evolved = copy.deepcopy(network)
    evolved.tail(len(evolved.stages) - stages - 1).load_state_dict(top.state_dict())
    return evolved


class FeatureAdapter(nn.Module):
    """What a learner and a teacher have at the end, to be compared: last-stage maps, and pooled features.

    Args:
        learner: the staged network that learns; of both, only sizes and layouts are read.
        teacher: the staged network that teaches.
        resize: whether the learner's are brought to the size of the teacher's, by one linear layer each.
    """

    def __init__(self, learner: Any, teacher: Any, *, resize: bool) -> None:
        super().__init__()
        self.learns, self.teaches = learner.layouts[-1], teacher.layouts[-1]
        self.maps: nn.Module = nn.Identity()
        self.pooled: nn.Module = nn.Identity()
        if resize:
            self.maps = adapter(learner.shapes[-1], teacher.shapes[-1], sides="pooling")
            self.pooled = nn.Linear(pooled_width(learner), pooled_width(teacher))

    def forward(self, learner: Output, teacher: Output) -> tuple[Pair, Pair]:
        """Give (learner's, teacher's) maps (B, C, H, W) and pooled features (B, D) of outputs with a last stage."""
        maps = self.maps(self.learns.maps(learner.stages[-1])), self.teaches.maps(teacher.stages[-1])
        return maps, (self.pooled(learner.pooled), teacher.pooled)

"""The optimiser of a phase."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn, optim

from docendo.engine.networks import Learners
from docendo.engine.settings import OptimizerSettings


def make_optimizer(
    learners: Learners, lr: float, settings: OptimizerSettings, rates: Mapping[str, float], idle: Iterable[str]
) -> optim.Optimizer:
    """Make one optimiser with a group of parameters for each role; `base_lr` is the group's rate before the schedule.

    A parameter that two roles share is in the group of the first.

    Args:
        learners: the learners of the phase.
        lr: the run's learning rate.
        settings: which optimiser.
        rates: factor on `lr` by role.
        idle: names of parameters that nothing reaches; they are left out, so that weight decay does not shrink them.
    """
    idle = set(idle)
    learning: dict[str, list[nn.Parameter]] = {role: [] for role in learners.roles}
    for name, parameter in learners.named_parameters():  # once each, under the first role of those that share it
        if name not in idle:
            learning[name.split(".")[1]].append(parameter)
    groups = []
    for role, parameters in learning.items():
        if parameters:
            rate = lr * rates.get(role, 1.0)
            groups.append({"params": parameters, "lr": rate, "base_lr": rate})
    if settings.name == "adamw":
        return optim.AdamW(groups, lr=lr, betas=(settings.momentum, 0.999), weight_decay=settings.weight_decay)
    return optim.SGD(
        groups,
        lr=lr,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        nesterov=settings.name == "nesterov" and settings.momentum > 0,
    )


def set_rate(optimizer: optim.Optimizer, factor: float) -> None:
    """Set the learning rate of each group to its `base_lr` times a factor."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(group["base_lr"] * factor)
        else:
            group["lr"] = group["base_lr"] * factor


def make_recordable(optimizer: optim.Optimizer, device: torch.device) -> None:
    """Let an optimiser take a step in one launch that reads its rates on the device, and make what it keeps before."""
    for state in optimizer.state.values():
        if "step" in state:
            state["step"] = torch.as_tensor(state["step"], dtype=torch.float32, device=device)
    for group in optimizer.param_groups:
        group |= {"lr": torch.tensor(float(group["lr"]), device=device), "fused": True, "foreach": None}
        if "capturable" in group:
            group["capturable"] = device.type == "cuda"
        if group.get("momentum"):
            # A parameter that gets its first gradient later than others would find no momentum of its own.
            for parameter in group["params"]:
                optimizer.state[parameter].setdefault("momentum_buffer", torch.zeros_like(parameter))

"""The optimiser of a phase."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import optim

from docendo.engine.networks import Learners
from docendo.engine.settings import OptimizerSettings


def make_optimizer(
    learners: Learners, lr: float, settings: OptimizerSettings, rates: Mapping[str, float], idle: Iterable[str]
) -> optim.Optimizer:
    """Make one optimiser with a group of parameters for each role; `base_lr` is the group's rate before the schedule.

    Args:
        learners: the learners of the phase.
        lr: the run's learning rate.
        settings: which optimiser.
        rates: factor on `lr` by role.
        idle: names of parameters that nothing reaches; they are left out, so that weight decay does not shrink them.
    """
    idle = set(idle)
    groups = []
    for role, module in learners.roles.items():
        learning = [p for name, p in module.named_parameters(f"roles.{role}") if name not in idle]
        if learning:
            rate = lr * rates.get(role, 1.0)
            groups.append({"params": learning, "lr": rate, "base_lr": rate})
    if settings.name == "adamw":
        return optim.AdamW(groups, lr=lr, betas=(settings.momentum, 0.999), weight_decay=settings.weight_decay)
    return optim.SGD(
        groups,
        lr=lr,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        nesterov=settings.name == "nesterov" and settings.momentum > 0,
    )

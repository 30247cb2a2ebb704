"""Plain training: labels alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from docendo.core import Batch, Build, LossTerm, Networks, Phase, Train, setting
from docendo.losses import cross_entropy


@dataclass(frozen=True)
class Plain:
    """Train one network on its labels: the baseline of every comparison, and how ordinary teachers are made.

        L = CE(z, y)

    Deployed: the network.
    """

    role: Literal["student", "teacher"] = setting(
        "student", "the place it trains in, which decides its first weights and the views it sees", source="ours"
    )

    @property
    def roles(self) -> tuple[str, ...]:
        """The one role that trains."""
        return (self.role,)

    def run(self, train: Train, build: Build) -> Mapping[str, nn.Module]:
        """Train the network of this role."""
        return {self.role: learn_from_labels(train, build(self.role), self.role)}


def learn_from_labels(train: Train, network: nn.Module, role: str) -> Any:
    """Train a network on its labels, in its role."""

    return train(Phase(role, {role: network}, LabelLosses(role)))[role]


def ordinary(train: Train, build: Build, role: str, *, frozen: bool = True) -> Any:
    """Give an ordinarily trained network for a role: the user's weights, or one trained now on its labels.

    Args:
        train: trains.
        build: makes the network.
        role: its role.
        frozen: whether it will only answer from here on.
    """
    if build.is_trained(role):
        return build(role, frozen=frozen)
    return learn_from_labels(train, build(role), role)


@dataclass(frozen=True)
class LabelLosses:
    """The losses of plain training in some role."""

    role: str

    def __call__(self, net: Networks, batch: Batch) -> Iterator[LossTerm]:
        """Yield the cross-entropy."""
        output = getattr(net, self.role)(batch)
        yield LossTerm(self.role, "labels", "ce", cross_entropy(output.logits, batch.labels))

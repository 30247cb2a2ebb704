"""Rocket launching."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from docendo.branches import share_stem
from docendo.core import Batch, Build, LossTerm, Networks, Phase, Train, setting
from docendo.losses import cross_entropy, logit_mse


@dataclass(frozen=True)
class RocketLaunching:
    """Rocket launching (Zhou, Fan, Cui, Bian, Zhu, Gai, AAAI 2018, arXiv 1708.04106): a booster beside the student.

    The booster is a bigger network that learns from the labels; the student copies its logits at every step.

        L = CE(z_B, y) + CE(z_S, y) + hint * mean_b sum_classes (z_S - stop(z_B))^2

    Deployed: the student. The booster has the role "scratch".
    """

    hint: float = setting(
        0.03, "weight of the squared difference of logits", source="zhougr1993/Rocket-Launching", at_least=0
    )
    share_stem: bool = setting(
        False,
        "whether both train one and the same first convolution",
        source="ours: any two networks serve; the paper shares lower layers",
    )
    gradient_block: bool = setting(
        True, "whether the booster's logits are constants to the hint", source="the paper's gradient block"
    )

    roles: ClassVar[tuple[str, ...]] = ("student", "scratch")

    def run(self, train: Train, build: Build) -> Mapping[str, nn.Module]:
        """Train both from scratch, side by side."""
        student, scratch = build("student"), build("scratch")
        if self.share_stem:
            share_stem(student, scratch)
        return train(Phase("student and scratch", {"student": student, "scratch": scratch}, self.losses))

    def losses(self, net: Networks, batch: Batch) -> Iterator[LossTerm]:
        """Yield three terms."""
        return launch_terms(net, batch, "hint", self.hint, block=self.gradient_block)


def launch_terms(net: Networks, batch: Batch, kind: str, weight: float, *, block: bool = True) -> Iterator[LossTerm]:
    """Yield the cross-entropies of student and scratch teacher, and what the student copies.

    Args:
        net: the networks of the step.
        batch: the batch.
        kind: what to call the squared difference of logits.
        weight: of it.
        block: whether it leaves the scratch teacher alone.
    """
    student, scratch = net.student(batch).logits, net.scratch(batch).logits
    yield LossTerm("student", "labels", "ce", cross_entropy(student, batch.labels))
    yield LossTerm("scratch", "labels", "ce", cross_entropy(scratch, batch.labels))
    yield LossTerm("student", "scratch", kind, logit_mse(student, scratch, detach_target=block), weight)

"""Attention transfer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from torch import nn

from docendo.branches import StagePairs
from docendo.core import Batch, Build, LossTerm, Networks, Phase, Train, setting
from docendo.losses import attention_transfer, cross_entropy
from docendo.methods.plain import ordinary


@dataclass(frozen=True)
class AT:
    """Attention transfer (Zagoruyko, Komodakis, ICLR 2017, arXiv 1612.03928): a student looks where its teacher looks.

        L = ce * CE(z_S, y) + attention * sum_i mean_p (A(F_S^i) - A(F_T^i))^2

    A(F) is the mean over channels of F^2, over its L2 norm; i runs over the paired stages, p over places.
    Deployed: the student.
    """

    ce: float = setting(1.0, "weight of the cross-entropy with the labels", source="CRD protocol", at_least=0)
    attention: float = setting(
        1000.0, "weight of each pair's attention loss", source="CRD protocol and the authors' code", at_least=0
    )
    pairs: str = setting(
        "", "stages compared, teacher's to student's, such as 2:1,3:2; empty: all, from the end", source="CRD protocol"
    )

    roles: ClassVar[tuple[str, ...]] = ("teacher", "student")

    def run(self, train: Train, build: Build) -> Mapping[str, nn.Module]:
        """Take the given teacher or train one, then distil."""
        teacher = ordinary(train, build, "teacher")
        return {"student": self.distil(train, teacher, build("student")), "teacher": teacher}

    def distil(self, train: Train, teacher: nn.Module, student: nn.Module) -> Any:
        """Train the student from the frozen teacher."""
        losses = partial(self.losses, StagePairs.of(self.pairs, teacher, student))
        return train(Phase("student", {"student": student}, losses, frozen={"teacher": teacher}))["student"]

    def losses(self, pairs: StagePairs, net: Networks, batch: Batch) -> Iterator[LossTerm]:
        """Yield the cross-entropy, then a term for each pair."""
        ce = cross_entropy(net.student(batch).logits, batch.labels)
        yield LossTerm("student", "labels", "ce", ce, self.ce)
        yield from attention_terms(net, batch, "student", "teacher", pairs, self.attention)


def attention_terms(
    net: Networks, batch: Batch, learner: str, teacher: str, pairs: StagePairs, weight: float
) -> Iterator[LossTerm]:
    """Yield one network's attention loss from another for each pair of their stages.

    Args:
        net: the networks of the step.
        batch: the batch.
        learner: the role that learns.
        teacher: the role that teaches.
        pairs: their stages.
        weight: of each term.
    """
    teaches, learns = getattr(net, teacher)(batch).stages, getattr(net, learner)(batch).stages
    for pair, target, features in pairs.maps(teaches, learns):
        yield LossTerm(learner, teacher, f"at {pair}", attention_transfer(features, target), weight)

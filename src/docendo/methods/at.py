"""Attention transfer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from docendo.branches import StagePairs
from docendo.core import Batch, Lesson, LossTerm, Networks, Output, setting
from docendo.losses import attention_transfer
from docendo.methods.taught import PAIRS, Taught


@dataclass(frozen=True)
class AT(Taught):
    """Attention transfer (Zagoruyko, Komodakis, ICLR 2017, arXiv 1612.03928): a student looks where its teacher looks.

        L = ce * CE(z_S, y) + weight * sum_i mean_p (A(F_S^i) - A(F_T^i))^2

    A(F) is the mean over channels of F^2, over its L2 norm; i runs over the paired stages, p over places.
    Deployed: the student.
    """

    weight: float = setting(
        1000.0, "weight of each pair's attention loss", source="CRD protocol and the authors' code", at_least=0
    )
    pairs: str = setting("", PAIRS, source="CRD protocol")

    def lesson(self, teacher: Any, student: Any) -> Lesson:
        """Give the attention losses of the paired stages."""
        return Lesson(partial(self.terms, StagePairs.of(self.pairs, teacher, student)))

    def terms(
        self, pairs: StagePairs, net: Networks, batch: Batch, student: Output, teacher: Output
    ) -> Iterator[LossTerm]:
        """Yield a term for each pair."""
        yield from attention_terms("student", student, "teacher", teacher, pairs, self.weight)


def attention_terms(
    learner: str, learns: Output, teacher: str, teaches: Output, pairs: StagePairs, weight: float
) -> Iterator[LossTerm]:
    """Yield one network's attention loss from another for each pair of their stages.

    Args:
        learner: the role that learns.
        learns: what it says.
        teacher: the role that teaches.
        teaches: what it says.
        pairs: their stages.
        weight: of each term.
    """
    for pair, target, features in pairs.maps(teaches.stages, learns.stages):
        yield LossTerm(learner, teacher, f"at {pair}", attention_transfer(features, target), weight)

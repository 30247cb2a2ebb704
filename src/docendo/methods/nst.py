"""Neuron selectivity transfer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from docendo.branches import StagePairs
from docendo.core import Batch, Lesson, LossTerm, Networks, Output, setting
from docendo.losses import nst
from docendo.methods.taught import PAIRS, Taught


@dataclass(frozen=True)
class NST(Taught):
    """Neuron selectivity transfer (Huang, Wang, arXiv 1707.01219): channels select what the teacher's channels select.

        L = ce * CE(z_S, y) + weight * sum_i mean_b MMD^2( channels of F_S^i, channels of F_T^i )

    MMD is the maximum mean discrepancy of two sets of maps, each of length 1, by the kernel k(x, y) = (x . y)^2; i runs
    over the paired stages.
    Deployed: the student.
    """

    weight: float = setting(50.0, "weight of each pair's discrepancy", source="CRD protocol (RepDistiller)", at_least=0)
    pairs: str = setting("", PAIRS, source="CRD protocol")

    def lesson(self, teacher: Any, student: Any) -> Lesson:
        """Give the discrepancies of the paired stages."""
        return Lesson(partial(self.terms, StagePairs.of(self.pairs, teacher, student)))

    def terms(
        self, pairs: StagePairs, net: Networks, batch: Batch, student: Output, teacher: Output
    ) -> Iterator[LossTerm]:
        """Yield a term for each pair."""
        for pair, target, features in pairs.maps(teacher.stages, student.stages):
            yield LossTerm("student", "teacher", f"nst {pair}", nst(features, target), self.weight)

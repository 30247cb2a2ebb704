"""Similarity-preserving distillation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from docendo.branches import StagePairs
from docendo.core import Batch, Lesson, LossTerm, Networks, Output, setting, whole_batch
from docendo.losses import similarity_preserving
from docendo.methods.taught import Taught


@dataclass(frozen=True)
class SP(Taught):
    """Similarity-preserving distillation (Tung, Mori, ICCV 2019, arXiv 1907.09682): what is alike.

        L = ce * CE(z_S, y) + weight * sum_i 1/B^2 * sum_jk (G(F_S^i)_jk - G(F_T^i)_jk)^2

    G(F) has, for the B images, the products of their features F, each row divided by its length; i runs over the
    paired stages.
    Deployed: the student.
    """

    weight: float = setting(3000.0, "weight of each pair's loss", source="CRD protocol (RepDistiller)", at_least=0)
    pairs: str = setting(
        "", "stages compared, teacher's to student's, such as 2:1,3:2; empty: last with last", source="CRD protocol"
    )

    def lesson(self, teacher: Any, student: Any) -> Lesson:
        """Give the losses of the paired stages."""
        last = f"{len(teacher.stages)}:{len(student.stages)}"
        return Lesson(partial(self.terms, StagePairs.of(self.pairs or last, teacher, student)))

    def terms(
        self, pairs: StagePairs, net: Networks, batch: Batch, student: Output, teacher: Output
    ) -> Iterator[LossTerm]:
        """Yield a term for each pair."""
        for pair, target, features in pairs.maps(teacher.stages, student.stages):
            value = similarity_preserving(whole_batch(features), whole_batch(target))
            yield LossTerm("student", "teacher", f"sp {pair}", value, self.weight, "whole")

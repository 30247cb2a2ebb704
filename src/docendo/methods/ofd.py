"""Overhaul of feature distillation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from docendo.branches import Connectors, StagePairs, before_relu, openness
from docendo.core import Batch, Lesson, LossTerm, Networks, Output, setting, whole_batch
from docendo.losses import ofd, ofd_margin
from docendo.losses.inputs import to_smaller_sides
from docendo.methods.taught import PAIRS, Taught


@dataclass(frozen=True)
class OFD(Taught):
    """Overhaul of feature distillation (Heo, Kim, Yun, Park, Kwak, Choi, ICCV 2019, arXiv 1904.01866).

    What the teacher's ReLU lets through is to be copied; where it is closed, the student is only to be low enough. Here
    all is done on what stages give, after the ReLU:

        L = ce * CE(z_S, y) + weight * sum_i 2^(i-n) * mean_b sum_cp 1[s > t' or t > 0] * (s - t')^2,   s = r_i(F_S^i)

    t are the teacher's maps F_T^i and t' the same, but the margin m_c where t is 0, and at least that; m_c is what a
    channel gives on average below 0, estimated from what it gives above; i = 1..n runs over the paired stages.
    Deployed: the student.
    """

    weight: float = setting(
        0.001,
        "weight of the last pair's loss; the one before has half of it, and so on",
        source="the authors' code",
        at_least=0,
    )
    pairs: str = setting("", PAIRS, source="the authors' code")

    def lesson(self, teacher: Any, student: Any) -> Lesson:
        """Give the partial distances of the paired stages, and the connectors that learn with the student."""
        pairs = StagePairs.of(self.pairs, teacher, student)
        return Lesson(partial(self.terms, pairs), {"ofd": Connectors(pairs, teacher, student)})

    def terms(
        self, pairs: StagePairs, net: Networks, batch: Batch, student: Output, teacher: Output
    ) -> Iterator[LossTerm]:
        """Yield a term for each pair."""
        weight = self.weight / 2 ** (len(pairs.pairs) - 1)
        for pair, target, features in pairs.maps(teacher.stages, student.stages):
            features, target = to_smaller_sides(features, target)
            margin = ofd_margin(*before_relu(whole_batch(openness(target))))
            target = target.where(target != 0, margin.reshape(-1, 1, 1))  # a ReLU is closed there
            yield LossTerm("student", "teacher", f"ofd {pair}", ofd(net.ofd(pair, features), target, margin), weight)
            weight *= 2

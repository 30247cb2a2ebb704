"""Variational information distillation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from docendo.branches import Gaussians, StagePairs
from docendo.core import Batch, Lesson, LossTerm, Networks, Output, setting
from docendo.losses import vid
from docendo.losses.inputs import to_smaller_sides
from docendo.methods.taught import PAIRS, Taught


@dataclass(frozen=True)
class VID(Taught):
    """Variational information distillation (Ahn, Hu, Damianou, Lawrence, Dai, CVPR 2019, arXiv 1904.05835).

    From its features the student is to tell the teacher's, by a Gaussian whose mean m and variances v learn with it:

        L = ce * CE(z_S, y) + weight * sum_i mean_bcp 1/2 * ( (m_i(F_S^i) - F_T^i)^2 / v_i + log v_i )

    i runs over the paired stages. Deployed: the student.
    """

    weight: float = setting(1.0, "weight of each pair's likelihood", source="CRD protocol (RepDistiller)", at_least=0)
    pairs: str = setting("", PAIRS, source="CRD protocol")

    def lesson(self, teacher: Any, student: Any) -> Lesson:
        """Give the likelihoods of the paired stages, and the Gaussians that learn with the student."""
        pairs = StagePairs.of(self.pairs, teacher, student)
        return Lesson(partial(self.terms, pairs), {"vid": Gaussians(pairs, teacher, student)})

    def terms(
        self, pairs: StagePairs, net: Networks, batch: Batch, student: Output, teacher: Output
    ) -> Iterator[LossTerm]:
        """Yield a term for each pair."""
        for pair, target, features in pairs.maps(teacher.stages, student.stages):
            features, target = to_smaller_sides(features, target)
            mean, log_scale = net.vid(pair, features)
            yield LossTerm("student", "teacher", f"vid {pair}", vid(mean, target, log_scale), self.weight)

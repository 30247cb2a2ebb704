"""Probabilistic knowledge transfer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from docendo.core import Batch, Lesson, LossTerm, Networks, Output, setting, whole_batch
from docendo.losses import pkt
from docendo.methods.taught import Taught


@dataclass(frozen=True)
class PKT(Taught):
    """Probabilistic knowledge transfer (Passalis, Tefas, ECCV 2018, arXiv 1803.10837): who is near whom.

        L = ce * CE(z_S, y) + weight * mean_ij q_ij * log(q_ij / p_ij),   p_ij = k(f_i, f_j) / sum_j k(f_i, f_j)

    f_i are the student's pooled features of image i of the batch, k(x, y) = (cos(x, y) + 1) / 2, and q is p of the
    teacher.
    Deployed: the student.
    """

    weight: float = setting(30000.0, "weight of the divergence", source="CRD protocol (RepDistiller)", at_least=0)

    def lesson(self, teacher: Any, student: Any) -> Lesson:
        """Give the divergence of who is near whom."""
        return Lesson(self.terms)

    def terms(self, net: Networks, batch: Batch, student: Output, teacher: Output) -> Iterator[LossTerm]:
        """Yield the divergence."""
        value = pkt(whole_batch(student.pooled), whole_batch(teacher.pooled))
        yield LossTerm("student", "teacher", "pkt", value, self.weight, "whole")

"""Relational knowledge distillation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from docendo.core import Batch, Lesson, LossTerm, Networks, Output, setting, whole_batch
from docendo.losses import rkd_angle, rkd_distance
from docendo.methods.taught import Taught


@dataclass(frozen=True)
class RKD(Taught):
    """Relational knowledge distillation (Park, Kim, Lu, Cho, CVPR 2019, arXiv 1904.05068): how images lie.

        L = ce * CE(z_S, y) + distance * mean_ij huber(d_S - d_T) + angle * mean_ijk huber(cos_S - cos_T)

    d is the distance of the pooled features of two images of the batch, over the mean of all; cos is the cosine of an
    angle between three of them; huber(x) is x^2 / 2 up to |x| = 1 and |x| - 1/2 beyond.
    Deployed: the student.
    """

    distance: float = setting(25.0, "weight of the distances", source="CRD protocol (RepDistiller)", at_least=0)
    angle: float = setting(50.0, "weight of the angles", source="CRD protocol (RepDistiller)", at_least=0)

    def lesson(self, teacher: Any, student: Any) -> Lesson:
        """Give the losses on distances and angles."""
        return Lesson(self.terms)

    def terms(self, net: Networks, batch: Batch, student: Output, teacher: Output) -> Iterator[LossTerm]:
        """Yield both terms."""
        learns, teaches = whole_batch(student.pooled), whole_batch(teacher.pooled)
        yield LossTerm("student", "teacher", "rkd distance", rkd_distance(learns, teaches), self.distance, "whole")
        yield LossTerm("student", "teacher", "rkd angle", rkd_angle(learns, teaches), self.angle, "whole")

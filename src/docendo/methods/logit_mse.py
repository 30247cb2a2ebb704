"""Regression of logits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from docendo.core import Batch, Lesson, LossTerm, Networks, Output, setting
from docendo.losses import logit_mse
from docendo.methods.taught import Taught


@dataclass(frozen=True)
class LogitMSE(Taught):
    """Regression of logits (Ba, Caruana, NIPS 2014, arXiv 1312.6184): a student copies its teacher's raw scores.

        L = ce * CE(z_S, y) + weight * mean_b sum_classes (z_S - z_T)^2

    Deployed: the student.
    """

    weight: float = setting(
        0.03,
        "weight of the squared difference of logits",
        source="zhougr1993/Rocket-Launching, from a teacher that learns too; for a frozen one no protocol is standard",
        at_least=0,
    )

    def lesson(self, teacher: Any, student: Any) -> Lesson:
        """Give the squared difference from the teacher."""
        return Lesson(self.terms)

    def terms(self, net: Networks, batch: Batch, student: Output, teacher: Output) -> Iterator[LossTerm]:
        """Yield the squared difference."""
        yield LossTerm("student", "teacher", "logit_mse", logit_mse(student.logits, teacher.logits), self.weight)

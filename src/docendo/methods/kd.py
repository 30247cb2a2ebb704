"""Knowledge distillation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from typing import Any

from docendo.core import Batch, Lesson, LossTerm, Networks, Output, setting
from docendo.losses import kd
from docendo.methods.taught import Taught


@dataclass(frozen=True)
class KD(Taught):
    """Knowledge distillation (Hinton, Vinyals, Dean, arXiv 1503.02531): a student follows a teacher's soft outputs.

        L = ce * CE(z_S, y) + kd * T^2 * KL(softmax(z_T / T) || softmax(z_S / T))

    Deployed: the student.
    """

    temperature: float = setting(4.0, "T, softens both outputs", source="CRD protocol (RepDistiller)", above=0)
    kd: float = setting(0.9, "weight of the divergence from the teacher", source="CRD protocol", at_least=0)
    _: KW_ONLY
    ce: float = setting(0.1, "weight of the cross-entropy with the labels", source="CRD protocol", at_least=0)

    def lesson(self, teacher: Any, student: Any) -> Lesson:
        """Give the divergence from the teacher."""
        return Lesson(self.terms)

    def terms(self, net: Networks, batch: Batch, student: Output, teacher: Output) -> Iterator[LossTerm]:
        """Yield the divergence."""
        yield LossTerm("student", "teacher", "kd", kd(student.logits, teacher.logits, self.temperature), self.kd)

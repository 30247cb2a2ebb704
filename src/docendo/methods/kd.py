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

    With `standardize`, z in the divergence stands for (z - mean(z)) / std(z), image by image.
    Deployed: the student.
    """

    temperature: float = setting(4.0, "T, softens both outputs", source="CRD protocol (RepDistiller)", above=0)
    kd: float = setting(0.9, "weight of the divergence from the teacher", source="CRD protocol", at_least=0)
    standardize: bool = setting(
        False,
        "whether the logits of each image first lose their mean and get a standard deviation of 1, on both sides",
        source="CRD protocol",
    )
    _: KW_ONLY
    ce: float = setting(0.1, "weight of the cross-entropy with the labels", source="CRD protocol", at_least=0)

    def lesson(self, teacher: Any, student: Any) -> Lesson:
        """Give the divergence from the teacher."""
        return Lesson(self.terms)

    def terms(self, net: Networks, batch: Batch, student: Output, teacher: Output) -> Iterator[LossTerm]:
        """Yield the divergence."""
        value = kd(student.logits, teacher.logits, self.temperature, standardize=self.standardize)
        yield LossTerm("student", "teacher", "kd", value, self.kd)

"""Knowledge distillation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from docendo.core import Batch, Build, LossTerm, Networks, Phase, Train, setting
from docendo.losses import cross_entropy, kd
from docendo.methods.plain import ordinary


@dataclass(frozen=True)
class KD:
    """Knowledge distillation (Hinton, Vinyals, Dean, arXiv 1503.02531): a student follows a teacher's soft outputs.

        L = ce * CE(z_S, y) + kd * T^2 * KL(softmax(z_T / T) || softmax(z_S / T))

    Deployed: the student.
    """

    temperature: float = setting(4.0, "T, softens both outputs", source="CRD protocol (RepDistiller)", above=0)
    ce: float = setting(0.1, "weight of the cross-entropy with the labels", source="CRD protocol", at_least=0)
    kd: float = setting(0.9, "weight of the divergence from the teacher", source="CRD protocol", at_least=0)

    roles: ClassVar[tuple[str, ...]] = ("teacher", "student")

    def run(self, train: Train, build: Build) -> Mapping[str, nn.Module]:
        """Take the given teacher or train one, then distil."""
        teacher = ordinary(train, build, "teacher")
        return {"student": self.distil(train, teacher, build("student")), "teacher": teacher}

    def distil(self, train: Train, teacher: nn.Module, student: nn.Module) -> Any:
        """Train the student from the frozen teacher."""
        return train(Phase("student", {"student": student}, self.losses, frozen={"teacher": teacher}))["student"]

    def losses(self, net: Networks, batch: Batch) -> Iterator[LossTerm]:
        """Yield the two terms."""
        student, teacher = net.student(batch), net.teacher(batch)
        yield LossTerm("student", "labels", "ce", cross_entropy(student.logits, batch.labels), self.ce)
        yield LossTerm("student", "teacher", "kd", kd(student.logits, teacher.logits, self.temperature), self.kd)

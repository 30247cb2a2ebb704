"""Hard distillation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from typing import Any

from docendo.branches import DistillationToken
from docendo.core import Batch, Lesson, LossTerm, Networks, Output, setting
from docendo.losses import hard_distillation
from docendo.methods.taught import Taught

PAPER = "the paper, equation 3"


@dataclass(frozen=True)
class DeiT(Taught):
    """Hard distillation (Touvron, Cord, Douze, Massa, Sablayrolles, Jegou, ICML 2021, arXiv 2012.12877).

    The class that the teacher decides for is one more label:

        L = ce * CE(z_S, y) + weight * CE(z, argmax z_T)

    z are the student's own logits, or those of a distillation token on its last stage, which is dropped afterwards.
    Deployed: the student.
    """

    weight: float = setting(0.5, "weight of the cross-entropy with the teacher's decision", source=PAPER, at_least=0)
    token: bool = setting(
        False,
        "whether a distillation token learns the teacher's decision, in place of the student's own head",
        source="ours: in the paper the token is part of the network that is deployed",
    )
    _: KW_ONLY
    ce: float = setting(0.5, "weight of the cross-entropy with the labels", source=PAPER, at_least=0)

    def lesson(self, teacher: Any, student: Any) -> Lesson:
        """Give the cross-entropy with the teacher's decision, and the token if there is to be one."""
        return Lesson(self.by_token, {"deit": DistillationToken(student)}) if self.token else Lesson(self.terms)

    def terms(self, net: Networks, batch: Batch, student: Output, teacher: Output) -> Iterator[LossTerm]:
        """Yield what the student's own head learns."""
        value = hard_distillation(student.logits, teacher.logits)
        yield LossTerm("student", "teacher", "hard", value, self.weight)

    def by_token(self, net: Networks, batch: Batch, student: Output, teacher: Output) -> Iterator[LossTerm]:
        """Yield what the token learns, and the student's stages below it."""
        value = hard_distillation(net.deit(student.stages[-1]), teacher.logits)
        yield LossTerm("student", "teacher", "hard token", value, self.weight)

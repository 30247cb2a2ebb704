"""Distillation with the reused teacher classifier."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from functools import partial
from typing import Any

from torch import nn

from docendo.branches import StagePairs, has_other_head, with_head_of
from docendo.core import Batch, Lesson, LossTerm, Networks, Output, Train, setting
from docendo.errors import DocendoError
from docendo.losses import simkd
from docendo.methods.taught import Taught

CODE = "the authors' code"


@dataclass(frozen=True)
class SimKD(Taught):
    """Reused teacher classifier (Chen, Mei, Zhang, Wang, Feng, Chen, CVPR 2022, arXiv 2203.14001).

    The student's last maps, through a projector, are to be the teacher's; then the teacher's head serves both:

        L = weight * mean_bcp (p(F_S) - F_T)^2,   plus ce * CE(z, y) if wanted

    Deployed: the student's stages, the projector and the teacher's head, as one network, "student+teacher".
    """

    weight: float = setting(1.0, "weight of the squared difference of last maps", source=CODE, at_least=0)
    _: KW_ONLY
    ce: float = setting(
        0.0, "weight of the cross-entropy with the labels, by which the reused head learns too", source=CODE, at_least=0
    )

    def distil(self, train: Train, teacher: nn.Module, student: Any) -> Any:
        """Train the student's stages and a projector in front of the teacher's head; give all three as one network."""
        return super().distil(train, teacher, with_head_of(teacher, student))

    def lesson(self, teacher: Any, student: Any) -> Lesson:
        """Give the difference of last maps, for a student that has the teacher's head."""
        if not has_other_head(student):
            raise DocendoError(
                "simkd cannot be added to another method, as its student is deployed with the teacher's head: "
                "run it alone, add others to it, or hold it, such as by sftn --set then=simkd"
            )
        last = f"{len(teacher.stages)}:{len(student.stages)}"
        return Lesson(partial(self.terms, StagePairs.of(last, teacher, student)))

    def terms(
        self, pairs: StagePairs, net: Networks, batch: Batch, student: Output, teacher: Output
    ) -> Iterator[LossTerm]:
        """Yield the difference."""
        for _, target, projected in pairs.maps(teacher.stages, student.stages):
            yield LossTerm("student", "teacher", "simkd", simkd(projected, target), self.weight)

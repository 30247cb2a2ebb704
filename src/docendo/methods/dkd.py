"""Decoupled knowledge distillation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from docendo.core import Batch, Lesson, LossTerm, Networks, Output, setting
from docendo.losses import dkd
from docendo.methods.taught import Taught, warmed_up


@dataclass(frozen=True)
class DKD(Taught):
    """Decoupled knowledge distillation (Zhao, Cui, Song, Qiu, Liang, CVPR 2022, arXiv 2203.08679): the label apart.

        L = ce * CE(z_S, y) + r * T^2 * ( alpha * KL(b_T || b_S) + beta * KL(p_T || p_S) )

    b is the softened probability of the label and that of all other classes together, p is how the others share
    theirs; r rises to 1 in the warm-up.
    Deployed: the student.
    """

    alpha: float = setting(1.0, "weight of the label against the rest", source="mdistiller", at_least=0)
    beta: float = setting(
        8.0,
        "weight of the other classes among themselves",
        source="mdistiller, for resnet32x4 to resnet8x4, ShuffleV1, ShuffleV2; 2 or 6 for other pairs",
        at_least=0,
    )
    temperature: float = setting(4.0, "T, softens both outputs", source="mdistiller", above=0)
    warmup: float = setting(
        0.0833,
        "part of the phase in which both weights rise to their full size",
        source="mdistiller: 20 of 240 epochs",
        at_least=0,
        at_most=1,
    )

    def lesson(self, teacher: Any, student: Any) -> Lesson:
        """Give the decoupled divergence from the teacher."""
        return Lesson(self.terms)

    def terms(self, net: Networks, batch: Batch, student: Output, teacher: Output) -> Iterator[LossTerm]:
        """Yield the divergence."""
        value = dkd(student.logits, teacher.logits, batch.labels, self.alpha, self.beta, self.temperature)
        yield LossTerm("student", "teacher", "dkd", value, warmed_up(batch, self.warmup))

"""SFTN's first phase alone, so that one friendly teacher serves all seeds of a study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from docendo.core import Build, Lesson, Train
from docendo.methods import KD, SFTN

FRIENDLY = f"{__name__}:FriendlyTeacher"
"""How `docendo.train` is asked for it."""


@dataclass(frozen=True)
class FriendlyTeacher(SFTN):
    """The teacher of SFTN without its student: what `then` would teach is left out.

        L = teacher_ce * CE(z_T, y)
          + 1/(N-1) sum_i [ branch_kl * T^2 * KL(softmax(z_T/T) || softmax(z_i/T)) + branch_ce * CE(z_i, y) ]

    Deployed: the teacher.
    """

    def run(self, train: Train, build: Build) -> Mapping[str, nn.Module]:
        """Make the teacher friendly to this student."""
        return {"teacher": SFTN.run(replace(self, then=_Nothing()), train, build)["teacher"]}


@dataclass(frozen=True)
class _Nothing(KD):
    """Teaches nothing."""

    def distil(self, train: Train, teacher: nn.Module, student: Any) -> Any:
        return student

    def lesson(self, teacher: Any, student: Any) -> Lesson:
        return Lesson(lambda net, batch, student, teacher: ())

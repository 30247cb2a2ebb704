"""FitNets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Literal

from torch import nn

from docendo.branches import StagePairs, adapter
from docendo.core import Batch, Build, Lesson, LossTerm, Networks, Output, Phase, Train, Transfer, setting
from docendo.errors import DocendoError
from docendo.losses import hint
from docendo.methods.kd import KD
from docendo.methods.plain import ordinary


@dataclass(frozen=True)
class FitNet:
    """FitNets (Romero, Ballas, Kahou, Chassang, Gatta, Bengio, ICLR 2015, arXiv 1412.6550): hints, then distillation.

    First the student's stages up to a middle one train, with a regressor r, to give a middle stage of the teacher:

        L = mean_bcp (r(F_S) - F_T)^2

    Then the regressor is dropped, and any transfer method teaches the whole student from there.
    Deployed: the student.
    """

    hint_fraction: float = setting(
        0.5,
        "part of the epochs that the hint phase takes",
        source="ours; in the paper up to 500 epochs, as the other phase, but stopped by the validation error",
        above=0,
        at_most=1,
    )
    sides: Literal["convolution", "pooling"] = setting(
        "convolution",
        "how the regressor reaches another height and width",
        source="the paper: by its kernel; RepDistiller: by its stride, as here",
    )
    pairs: str = setting(
        "",
        "the teacher's stage that hints and the student's that is guided, such as 2:1; empty: the middle pair",
        source="the paper; stage 2 in the CRD protocol",
    )
    weight: float = setting(
        100.0, "weight of the hint where it is added to another method's losses", source="RepDistiller", at_least=0
    )
    then: Transfer = setting(  # noqa: RUF009  # a field, as every setting
        KD(), "the transfer method of the second phase", source="the paper: KD"
    )

    roles: ClassVar[tuple[str, ...]] = ("teacher", "student")

    def run(self, train: Train, build: Build) -> Mapping[str, nn.Module]:
        """Take the given teacher or train one, then distil in two phases."""
        teacher = ordinary(train, build, "teacher")
        return {"student": self.distil(train, teacher, build("student")), "teacher": teacher}

    def distil(self, train: Train, teacher: Any, student: Any) -> Any:
        """Train the student's first stages by the hint, then the whole student."""
        pairs, regressor = self._guide(teacher, student)
        ((_, s),) = pairs.pairs
        learners = {"student": nn.Sequential(*student.stages[: s + 1]), "regressor": regressor}
        losses = partial(self.losses, pairs)
        train(Phase("hint", learners, losses, {"teacher": teacher}, stream="hint", fraction=self.hint_fraction))
        return self.then.distil(train, teacher, student)

    def lesson(self, teacher: Any, student: Any) -> Lesson:
        """Give the hint as a loss beside others, in one phase with them."""
        pairs, regressor = self._guide(teacher, student)
        return Lesson(partial(self.terms, pairs), {"regressor": regressor})

    def terms(
        self, pairs: StagePairs, net: Networks, batch: Batch, student: Output, teacher: Output
    ) -> Iterator[LossTerm]:
        """Yield the hint, weighted."""
        ((pair, target, features),) = pairs.maps(teacher.stages, student.stages)
        yield LossTerm("student", "teacher", f"hint {pair}", hint(net.regressor(features), target), self.weight)

    def losses(self, pairs: StagePairs, net: Networks, batch: Batch) -> Iterator[LossTerm]:
        """Yield the hint."""
        ((t, s),) = pairs.pairs
        guided = net.regressor(pairs.student[s].maps(net.student(batch)))
        target = pairs.teacher[t].maps(net.teacher(batch).stages[t])
        yield LossTerm("student", "teacher", f"hint {pairs.names[0]}", hint(guided, target))

    def _guide(self, teacher: Any, student: Any) -> tuple[StagePairs, nn.Module]:
        """Give the one pair of stages, and the regressor from the student's to the teacher's."""
        found = StagePairs.of(self.pairs, teacher, student)
        if self.pairs and len(found.pairs) > 1:
            raise DocendoError(f"fitnet has one hint, but pairs is {self.pairs}: give one pair, such as 2:1")
        middle = (len(found.pairs) - 1) // 2
        t, s = found.pairs[middle]
        regressor = adapter(student.shapes[s], teacher.shapes[t], sides=self.sides)
        return replace(found, pairs=((t, s),)), regressor

"""What all methods share whose student learns from a teacher that is already there: everything but the loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from torch import nn

from docendo.core import Batch, Build, Lesson, LossTerm, Networks, Output, Phase, Train, Transfer, setting
from docendo.errors import DocendoError
from docendo.losses import cross_entropy
from docendo.methods.plain import ordinary

PAIRS = "stages compared, teacher's to student's, such as 2:1,3:2; empty: all, from the end"
"""What the setting `pairs` of a method means that compares stages."""

ADD = "further transfer methods whose losses are added, such as at,sp; their settings follow a dot: at.weight"


@dataclass(frozen=True, kw_only=True)
class Taught(ABC):
    """A student that learns from its labels and from a frozen teacher, by one loss or by several.

    A method of this kind says its settings and its `lesson`.
    """

    ce: float = setting(1.0, "weight of the cross-entropy with the labels", source="CRD protocol", at_least=0)
    add: tuple[Transfer, ...] = setting((), ADD, source="ours: none")

    roles: ClassVar[tuple[str, ...]] = ("teacher", "student")

    def __post_init__(self) -> None:
        """Refuse what is added twice."""
        refuse_twice((self, *self.add))

    @abstractmethod
    def lesson(self, teacher: Any, student: Any) -> Lesson:
        """Give this method's loss between these two."""

    def run(self, train: Train, build: Build) -> Mapping[str, nn.Module]:
        """Take the given teacher or train one, then distil."""
        teacher = ordinary(train, build, "teacher")
        return {"student": self.distil(train, teacher, build("student")), "teacher": teacher}

    def distil(self, train: Train, teacher: nn.Module, student: Any) -> Any:
        """Train the student from the frozen teacher."""
        return train(self.phase(teacher, student))["student"]

    def phase(self, teacher: nn.Module, student: Any) -> Phase:
        """Give the phase in which the student learns, with whatever learns beside it."""
        lessons = [method.lesson(teacher, student) for method in (self, *self.add)]
        learners = {"student": student, **learners_of(lessons)}
        return Phase("student", learners, partial(self.losses, lessons), frozen={"teacher": teacher})

    def losses(self, lessons: Sequence[Lesson], net: Networks, batch: Batch) -> Iterator[LossTerm]:
        """Yield the cross-entropy with the labels, then the terms of each lesson."""
        student, teacher = net.student(batch), net.teacher(batch)
        yield LossTerm("student", "labels", "ce", cross_entropy(student.logits, batch.labels), self.ce)
        yield from terms_of(lessons, net, batch, student, teacher)


def terms_of(
    lessons: Sequence[Lesson], net: Networks, batch: Batch, student: Output, teacher: Output
) -> Iterator[LossTerm]:
    """Yield the terms of some lessons from one teacher."""
    for lesson in lessons:
        yield from lesson.terms(net, batch, student, teacher)


def learners_of(lessons: Sequence[Lesson]) -> dict[str, nn.Module]:
    """Give what learns in some lessons besides the student, by role."""
    return {role: module for lesson in lessons for role, module in lesson.learners.items()}


def refuse_twice(methods: Sequence[Any]) -> None:
    """Refuse several lessons of one kind.

    Raises:
        DocendoError: if two methods are of one class: their loss terms and learners would have the same names.
    """
    kinds = [type(method).__name__ for method in methods]
    twice = next((kind for kind in kinds if kinds.count(kind) > 1), None)
    if twice:
        raise DocendoError(f"add: {twice} is there already: a loss is added once; change its weight instead")


def warmed_up(batch: Batch, warmup: float) -> float:
    """Give the factor on a weight that rises in a line, from a twentieth to 1.

    A twentieth is what mdistiller begins with: the first of 20 epochs. So no step goes without the term.

    Args:
        batch: of the phase, whose progress is asked for only if the weight rises at all.
        warmup: part of the phase that the rise takes; 0: none.
    """
    return max(min(batch.progress / warmup, 1.0), 0.05) if warmup else 1.0

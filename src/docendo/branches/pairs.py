"""Which stage of one network goes with which stage of another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from torch import Tensor

from docendo.errors import DocendoError
from docendo.networks.staged import Layout

Pairs = tuple[tuple[int, int], ...]
"""Indices from 0, ascending: (teacher's stage, student's stage)."""


@dataclass(frozen=True)
class StagePairs:
    """Paired stages of two networks and how they are laid out: plain data, so that losses and branches can hold it.

    Attributes:
        pairs: which stage goes with which.
        teacher: the layouts of all stages of the teacher.
        student: the layouts of all stages of the student.
    """

    pairs: Pairs
    teacher: tuple[Layout, ...]
    student: tuple[Layout, ...]

    @classmethod
    def of(cls, chosen: str, teacher: Any, student: Any) -> StagePairs:
        """Pair the stages of two staged networks; arguments and errors are those of `paired`."""
        return cls(paired(chosen, teacher, student), teacher.layouts, student.layouts)

    @property
    def names(self) -> tuple[str, ...]:
        """What users call each pair: "2:1", the teacher's stage first, counted from 1."""
        return tuple(f"{t + 1}:{s + 1}" for t, s in self.pairs)

    def maps(self, teacher: Sequence[Tensor], student: Sequence[Tensor]) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Give name, teacher's and student's maps (B, C, H, W) of each pair, of the raw outputs of all stages."""
        for name, (t, s) in zip(self.names, self.pairs, strict=True):
            yield name, self.teacher[t].maps(teacher[t]), self.student[s].maps(student[s])


def paired(chosen: str, teacher: Any, student: Any) -> Pairs:
    """Pair the stages of two staged networks as the user chose, or else from the end.

    Args:
        chosen: "2:1,3:2", teacher's stage to student's, counted from 1; empty: last with last, then backwards.
        teacher: the network whose stages teach.
        student: the network whose stages learn.

    Raises:
        DocendoError: what is no pair, names a stage that is not there, or does not ascend on both sides.
    """
    t_stages, s_stages = len(teacher.stages), len(student.stages)
    if not chosen:
        return pair_from_the_end(t_stages, s_stages)
    pairs = []
    for text in chosen.split(","):
        t, colon, s = (part.strip() for part in text.partition(":"))
        if not (colon and t.isdecimal() and s.isdecimal()):
            raise DocendoError(f'pairs has "{text}", but a pair is TEACHER:STUDENT, stages counted from 1, such as 2:1')
        if not (1 <= int(t) <= t_stages and 1 <= int(s) <= s_stages):
            raise DocendoError(
                f"pairs has {text}, but the teacher has stages 1 to {t_stages} and the student 1 to {s_stages}"
            )
        pairs.append((int(t) - 1, int(s) - 1))
    for (t0, s0), (t1, s1) in pairwise(pairs):
        if t1 <= t0 or s1 <= s0:
            raise DocendoError(f"pairs {chosen}: stages must ascend on both sides, such as 1:1,3:2")
    return tuple(pairs)


def pair_from_the_end(teacher_stages: int, student_stages: int) -> Pairs:
    """Pair stages last with last, then backwards, as many as both have; in ascending order.

    Args:
        teacher_stages: how many stages the teacher has.
        student_stages: how many stages the student has.

    >>> pair_from_the_end(4, 3)
    ((1, 0), (2, 1), (3, 2))
    """
    shared = min(teacher_stages, student_stages)
    return tuple((teacher_stages - shared + k, student_stages - shared + k) for k in range(shared))

"""Knowledge review."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor

from docendo.branches import Review, StagePairs
from docendo.core import Batch, Lesson, LossTerm, Networks, Output, setting
from docendo.losses import hierarchical_context
from docendo.methods.taught import PAIRS, Taught, warmed_up


@dataclass(frozen=True)
class ReviewKD(Taught):
    """Knowledge review (Chen, Liu, Zhao, Jia, CVPR 2021, arXiv 2104.09044): deep stages help to tell shallow ones.

        L = ce * CE(z_S, y) + r * weight * ( sum_i HCL(g_i, F_T^i) + HCL(g_0, f_T) )

    g_i is told from the student's stage of pair i and all that is deeper, g_0 from its pooled features; f_T are the
    teacher's; HCL compares at several sizes, see `docendo.losses.hierarchical_context`; r rises to 1 in the warm-up.
    Deployed: the student.
    """

    weight: float = setting(
        5.0,
        "weight of each level's loss",
        source="the authors' code, for five of its eight CIFAR-100 pairs; 8, 0.6 or 1 for others",
        at_least=0,
    )
    warmup: float = setting(
        0.0833,
        "part of the phase in which the weight rises to its full size",
        source="the authors' code: 20 of 240 epochs",
        at_least=0,
        at_most=1,
    )
    pairs: str = setting("", PAIRS, source="the authors' code")

    def lesson(self, teacher: Any, student: Any) -> Lesson:
        """Give the losses of all levels, and the modules by which the student tells of them."""
        pairs = StagePairs.of(self.pairs, teacher, student)
        return Lesson(partial(self.terms, pairs), {"reviewkd": Review(pairs, teacher, student)})

    def terms(
        self, pairs: StagePairs, net: Networks, batch: Batch, student: Output, teacher: Output
    ) -> Iterator[LossTerm]:
        """Yield a term for each pair, and one for the pooled features."""
        levels = {pair: (target, features) for pair, target, features in pairs.maps(teacher.stages, student.stages)}
        levels["pooled"] = (as_maps(teacher.pooled), as_maps(student.pooled))
        said = net.reviewkd({level: features for level, (_, features) in levels.items()})
        weight = self.weight * warmed_up(batch, self.warmup)
        for level, (target, _) in levels.items():
            value = hierarchical_context(said[level], target)
            yield LossTerm("student", "teacher", f"review {level}", value, weight)


def as_maps(pooled: Tensor) -> Tensor:
    """View pooled features (B, D) as maps of one place, (B, D, 1, 1)."""
    return pooled.reshape(*pooled.shape, 1, 1)

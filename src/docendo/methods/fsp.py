"""Flow of solution procedure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

from docendo.branches import SameWidths, StagePairs
from docendo.core import Batch, Lesson, LossTerm, Networks, Output, setting
from docendo.errors import DocendoError
from docendo.losses import fsp
from docendo.methods.taught import Taught


@dataclass(frozen=True)
class FSP(Taught):
    """Flow of solution procedure (Yim, Joo, Bae, Kim, CVPR 2017): how features change, not what they are.

        L = ce * CE(z_S, y) + weight * sum_i mean_bcd ( G(S_i, S_i+1) - G(T_i, T_i+1) )^2

    G(F, F')_cd is the mean over places of F_c * F'_d; i and i + 1 are consecutive paired stages. Where the student's
    widths differ from the teacher's, its maps go through a 1x1 convolution that learns with it.
    Deployed: the student.
    """

    weight: float = setting(
        1.0, "weight of each flow's loss", source="RepDistiller's first stage, of flows alone", at_least=0
    )
    pairs: str = setting(
        "",
        "two or more pairs of stages, teacher's to student's, such as 1:1,3:2; empty: all, from the end",
        source="CRD protocol, where the stem is one more",
    )

    def lesson(self, teacher: Any, student: Any) -> Lesson:
        """Give the losses of the flows between paired stages, and the convolutions that learn with the student."""
        pairs = StagePairs.of(self.pairs, teacher, student)
        if len(pairs.pairs) < 2:
            raise DocendoError(
                f"fsp compares how features change from one paired stage to the next, and there is one pair, "
                f"{pairs.names[0]}: give two or more by --pair, or choose networks of two stages or more"
            )
        return Lesson(partial(self.terms, pairs), {"fsp": SameWidths(pairs, teacher, student)})

    def terms(
        self, pairs: StagePairs, net: Networks, batch: Batch, student: Output, teacher: Output
    ) -> Iterator[LossTerm]:
        """Yield a term for each two consecutive pairs."""
        stages = [
            (pair, target, net.fsp(pair, features))
            for pair, target, features in pairs.maps(teacher.stages, student.stages)
        ]
        for (first, t_first, s_first), (last, t_last, s_last) in pairwise(stages):
            value = fsp(s_first, s_last, t_first, t_last)
            yield LossTerm("student", "teacher", f"fsp {first} {last}", value, self.weight)

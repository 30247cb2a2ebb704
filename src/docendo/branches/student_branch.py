"""Student branches on a teacher's stages, as in SFTN (Park et al., NeurIPS 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from docendo.branches.adapters import transform
from docendo.branches.pairs import StagePairs
from docendo.core import Output
from docendo.errors import DocendoError


class StudentBranches(nn.Module):
    """One branch for each pair of stages: a transform, then the student's later stages and head.

    Args:
        teacher: the staged network the branches hang on; only its shapes are read.
        student: the staged network whose tails the branches are; they start from fresh weights, the student is not
            touched.
        pairs: which stages, as `docendo.branches.paired` reads it; empty: from the end, without the last pair.
        share_tails: whether the branches use the layers of one student, as GayathriMatcha/SFT-KD-Recon does, instead
            of one each; shared BatchNorm layers then mix the statistics of all branches.

    Raises:
        DocendoError: if there is no such pair, or two paired stages have sides of no integer ratio.
    """

    def __init__(self, teacher: Any, student: Any, *, pairs: str = "", share_tails: bool = False) -> None:
        super().__init__()
        self.pairs = StagePairs.of(pairs, teacher, student)
        if not pairs:
            self.pairs = replace(self.pairs, pairs=self.pairs.pairs[:-1])
        if not self.pairs.pairs:
            raise DocendoError(
                "student branches need two or more paired stages: the teacher has "
                f"{len(teacher.stages)}, the student {len(student.stages)}; choose networks with more stages"
            )
        t_shapes, s_shapes = teacher.shapes, student.shapes
        self.transforms = nn.ModuleList(transform(t_shapes[t], s_shapes[s]) for t, s in self.pairs.pairs)
        shared = student.fresh() if share_tails else None
        self.tails = nn.ModuleList((shared or student.fresh()).tail(s) for _, s in self.pairs.pairs)

    def forward(self, stages: Sequence[Tensor]) -> dict[str, Output]:
        """Give each branch's output for a teacher's stage outputs; these stay attached, so the teacher learns too.

        Args:
            stages: the raw outputs of all stages of the teacher.

        Returns:
            The outputs by pair: "2:1" hangs on the teacher's second stage and is the student after its first.
        """
        of, outputs = self.pairs, {}
        for name, (t, s), adapt, tail in zip(of.names, of.pairs, self.transforms, self.tails, strict=True):
            outputs[name] = tail(of.student[s].raw(adapt(of.teacher[t].maps(stages[t]))))
        return outputs

"""A student's maps at the widths of a teacher's."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from docendo.branches.pairs import StagePairs


class SameWidths(nn.ModuleDict):
    """Brings the student's maps of each pair to the width of the teacher's: by a 1x1 convolution, where they differ.

    Args:
        pairs: which stages.
        teacher: the staged network whose widths are to be reached; of both, only widths are read.
        student: the staged network whose maps are brought there.
    """

    def __init__(self, pairs: StagePairs, teacher: Any, student: Any) -> None:
        super().__init__()
        for name, (t, s) in zip(pairs.names, pairs.pairs, strict=True):
            has, needs = student.widths[s], teacher.widths[t]
            self[name] = nn.Identity() if has == needs else nn.Conv2d(has, needs, 1, bias=False)

    def forward(self, pair: str, features: Tensor) -> Tensor:
        """Map the student's (B, C, H, W) of a pair to (B, C', H, W)."""
        adapted: Tensor = self[pair](features)
        return adapted

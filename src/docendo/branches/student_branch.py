"""Student branches on a teacher's stages, as in SFTN (Park et al., NeurIPS 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from torch import Tensor, nn

from docendo.branches.pairs import pair_from_the_end
from docendo.core import Output
from docendo.errors import DocendoError

Shape = tuple[int, int, int]


class StudentBranches(nn.Module):
    """One branch for every pair of stages but the last: a transform, then the student's later stages and head.

    Args:
        teacher: the staged network the branches hang on; only its shapes are read.
        student: the staged network whose tails the branches are; they start from fresh weights, the student is not
            touched.
        share_tails: whether the branches use the layers of one student, as GayathriMatcha/SFT-KD-Recon does, instead
            of one each; shared BatchNorm layers then mix the statistics of all branches.

    Raises:
        DocendoError: if two paired stages have sides of no integer ratio.
    """

    def __init__(self, teacher: Any, student: Any, *, share_tails: bool = False) -> None:
        super().__init__()
        pairs = pair_from_the_end(len(teacher.stages), len(student.stages))[:-1]
        if not pairs:
            raise DocendoError(
                "student branches need two or more paired stages: the teacher has "
                f"{len(teacher.stages)}, the student {len(student.stages)}; choose networks with more stages"
            )
        self.taps = tuple(t for t, _ in pairs)
        self.leaves = tuple(teacher.layouts[t] for t, _ in pairs)
        self.enters = tuple(student.layouts[s] for _, s in pairs)
        self.transforms = nn.ModuleList(transform(teacher.shapes[t], student.shapes[s]) for t, s in pairs)
        shared = student.fresh() if share_tails else None
        self.tails = nn.ModuleList((shared or student.fresh()).tail(s) for _, s in pairs)

    def __len__(self) -> int:
        return len(self.taps)

    def forward(self, stages: Sequence[Tensor]) -> tuple[Output, ...]:
        """Give each branch's output for a teacher's stage outputs; these stay attached, so the teacher learns too."""
        branches = zip(self.taps, self.leaves, self.transforms, self.enters, self.tails, strict=True)
        return tuple(tail(to.raw(adapt(of.maps(stages[tap])))) for tap, of, adapt, to, tail in branches)


def transform(teacher: Shape, student: Shape) -> nn.Sequential:
    """Bring features of one shape into another: a convolution, BatchNorm, ReLU.

    Equal sides: 1x1. A larger teacher: stride r, kernel max(3, 2*floor(r/2)+1), padding half of it. A smaller one:
    transposed, stride r, kernel r+2*floor(r/2), padding floor(r/2). At r = 2 these are the 3x3 and 4x4 layers of
    kimyuji/SFTN_kd; other ratios are ours.

    Args:
        teacher: (C, H, W) of the features to adapt.
        student: (C, H, W) to reach.

    Raises:
        DocendoError: if the sides have no integer ratio.

    >>> transform((64, 32, 32), (116, 16, 16))[0]
    Conv2d(64, 116, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1))
    """
    (c_t, *sides_t), (c_s, *sides_s) = teacher, student
    ratio, *other = {Fraction(t, s) for t, s in zip(sides_t, sides_s, strict=True)}
    conv: nn.Module
    if ratio == 1 and not other:
        conv = nn.Conv2d(c_t, c_s, 1)
    elif ratio.denominator == 1 and not other:
        r = ratio.numerator
        kernel = max(3, 2 * (r // 2) + 1)
        conv = nn.Conv2d(c_t, c_s, kernel, stride=r, padding=kernel // 2)
    elif ratio.numerator == 1 and not other:
        r = ratio.denominator
        conv = nn.ConvTranspose2d(c_t, c_s, r + 2 * (r // 2), stride=r, padding=r // 2)
    else:
        raise DocendoError(
            f"no transform from the teacher's {sides_t[0]}x{sides_t[1]} maps to the student's "
            f"{sides_s[0]}x{sides_s[1]}: sides need one integer ratio; choose another --image-size or networks that "
            "shrink alike"
        )
    return nn.Sequential(conv, nn.BatchNorm2d(c_s), nn.ReLU())

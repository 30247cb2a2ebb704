"""What heads on the earlier stages of a network have in common, be they on a pyramid or right on the stages."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from torch import Tensor

from docendo.core import Output
from docendo.errors import DocendoError

Shape = tuple[int, int, int]


class Heads(NamedTuple):
    """What all heads say.

    Attributes:
        outputs: each head's, under the name of the stage that it reads: "stage1", "stage2", ... but not the last.
        deepest: (B, D), the mean over places of the last stage, which the heads' pooled features are to resemble.
    """

    outputs: Mapping[str, Output]
    deepest: Tensor


def kernels(shapes: Sequence[Shape]) -> tuple[tuple[int, int], ...]:
    """Give, for each stage but the last, the patch (height, width) that is to become one place.

    So many patches fit into a stage as the last stage has places, or a few more; a rest at the lower and right border
    that fills no patch is not seen. Where the last stage has but one place, four patches are taken, as the released
    VGG of TESKD does: kernels of a quarter of the weights.

    Args:
        shapes: (C, H, W) of all stages.

    Raises:
        DocendoError: for a single stage, or sides that grow from stage to stage.

    >>> kernels([(64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4)])
    ((8, 8), (4, 4), (2, 2))
    >>> kernels([(128, 8, 8), (256, 4, 4), (512, 2, 2), (512, 1, 1)])
    ((4, 4), (2, 2), (1, 1))
    """
    if len(shapes) < 2:
        raise DocendoError(
            "heads hang on all stages but the last, and this network has one stage: choose one with two or more"
        )
    for i, ((_, height, width), (_, next_height, next_width)) in enumerate(pairwise(shapes), start=1):
        if next_height > height or next_width > width:
            raise DocendoError(
                f"stage {i} has {height}x{width} places and stage {i + 1} has {next_height}x{next_width}: heads on "
                "stages need networks whose sides do not grow; choose another"
            )
    _, *last = shapes[-1]
    least = [max(side, 2) for side in last]
    return tuple((max(1, height // least[0]), max(1, width // least[1])) for _, height, width in shapes[:-1])


def head_weights(chosen: str, heads: Heads) -> dict[str, float]:
    """Read the factor on each head's terms.

    Args:
        chosen: one number for all heads, or one for each, "1,1,0.5", in the order of the stages.
        heads: the heads.

    Raises:
        DocendoError: if these are no numbers of at least 0, or too few or many.
    """
    names = tuple(heads.outputs)
    try:
        numbers = [float(text) for text in chosen.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, len(names)) or not all(math.isfinite(n) and n >= 0 for n in numbers):
        raise DocendoError(
            f'head_weights is "{chosen}", but must be one number of at least 0, or {len(names)} with commas between, '
            f"for {', '.join(names)}"
        )
    return dict(zip(names, numbers * len(names) if len(numbers) == 1 else numbers, strict=True))

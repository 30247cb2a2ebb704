"""Multi-level logit distillation."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import partial
from typing import Any

import torch

from docendo.core import Batch, Lesson, LossTerm, Networks, Output, setting, whole_batch
from docendo.errors import DocendoError
from docendo.losses import batch_correlation, class_correlation, kd
from docendo.methods.taught import Taught

CODE = "the authors' code"


@dataclass(frozen=True)
class MLKD(Taught):
    """Multi-level logit distillation (Jin, Wang, Lin, CVPR 2023): outputs agree by image, by batch and by class.

        L = ce * CE(z_S, y) + sum_T ( instance_level * T^2 * KL(q || p)
            + batch_level / B * ||P P' - Q Q'||^2 + class_level / K * ||P' P - Q' Q||^2 )

    P and Q, B x K, hold the probabilities p and q of student and teacher, softened by T; ' transposes.
    Deployed: the student.
    """

    temperatures: str = setting("2,3,4,5,6", "all T over which the losses are added", source=CODE)
    instance_level: float = setting(0.9, "weight of the divergence, image by image", source=CODE, at_least=0)
    batch_level: float = setting(0.9, "weight of the products of images", source=f"{CODE}; see the card", at_least=0)
    class_level: float = setting(0.9, "weight of the products of classes", source=f"{CODE}; see the card", at_least=0)
    _: KW_ONLY
    ce: float = setting(0.1, "weight of the cross-entropy with the labels", source=CODE, at_least=0)

    def lesson(self, teacher: Any, student: Any) -> Lesson:
        """Give the losses of three levels."""
        return Lesson(partial(self.terms, _numbers(self.temperatures)))

    def terms(
        self, temperatures: Sequence[float], net: Networks, batch: Batch, student: Output, teacher: Output
    ) -> Iterator[LossTerm]:
        """Yield a term for each level."""
        learns, teaches = whole_batch(student.logits), whole_batch(teacher.logits)
        by_image = torch.stack([kd(learns, teaches, t) for t in temperatures]).sum()
        by_batch = torch.stack([batch_correlation(learns, teaches, t) for t in temperatures]).sum()
        by_class = torch.stack([class_correlation(learns, teaches, t) for t in temperatures]).sum()
        yield LossTerm("student", "teacher", "mlkd instance", by_image, self.instance_level, "whole")
        yield LossTerm("student", "teacher", "mlkd batch", by_batch, self.batch_level, "whole")
        yield LossTerm("student", "teacher", "mlkd class", by_class, self.class_level, "whole")


def _numbers(temperatures: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(text) for text in temperatures.split(","))
    except ValueError:
        numbers = ()
    if not numbers or min(numbers) <= 0 or not math.isfinite(sum(numbers)):
        raise DocendoError(
            f'mlkd: temperatures is "{temperatures}", but must be numbers above 0 with commas between, such as 2,4'
        )
    return numbers

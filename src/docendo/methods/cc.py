"""Correlation congruence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from docendo.core import Batch, Lesson, LossTerm, Networks, Output, setting, whole_batch
from docendo.losses import correlation_congruence
from docendo.methods.taught import Taught

CODE = "AberHu's Knowledge-Distillation-Zoo, of the same formula"


@dataclass(frozen=True)
class CC(Taught):
    """Correlation congruence (Peng, Jin, Liu, Zhou, Wu, Liu, Li, Zhang, ICCV 2019, arXiv 1904.01802).

        L = ce * CE(z_S, y) + weight * mean_ij (K(S)_ij - K(T)_ij)^2

    K(F) is the Gaussian kernel between the pooled features of all images of the batch, each of length 1, by its Taylor
    series: exp(-2 gamma) * sum_{p=0..order} (2 gamma * f_i . f_j)^p / p!
    Deployed: the student.
    """

    weight: float = setting(
        100.0,
        "weight of the squared difference of kernels",
        source=f"{CODE}; 0.02 in RepDistiller is for another",
        at_least=0,
    )
    gamma: float = setting(
        0.4, "one over twice the squared width of the kernel", source=f"{CODE}; torchdistill", above=0
    )
    order: int = setting(2, "the last power of the Taylor series", source=f"{CODE}; torchdistill", at_least=1)

    def lesson(self, teacher: Any, student: Any) -> Lesson:
        """Give the difference of kernels."""
        return Lesson(self.terms)

    def terms(self, net: Networks, batch: Batch, student: Output, teacher: Output) -> Iterator[LossTerm]:
        """Yield the difference."""
        learns, teaches = whole_batch(student.pooled), whole_batch(teacher.pooled)
        value = correlation_congruence(learns, teaches, self.gamma, self.order)
        yield LossTerm("student", "teacher", "cc", value, self.weight, "whole")

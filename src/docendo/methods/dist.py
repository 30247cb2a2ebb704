"""DIST: relations instead of probabilities."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from docendo.core import Batch, Lesson, LossTerm, Networks, Output, setting, whole_batch
from docendo.losses import dist
from docendo.methods.taught import Taught

CODE = "the authors' settings for CIFAR-100"


@dataclass(frozen=True)
class DIST(Taught):
    """DIST (Huang, You, Wang, Qian, Xu, NeurIPS 2022, arXiv 2205.10536): what a stronger teacher prefers to what.

        L = ce * CE(z_S, y) + T^2 * ( beta * mean_b(1 - r(p_b, q_b)) + gamma * mean_c(1 - r(p_c, q_c)) )

    p and q are the softened probabilities of student and teacher, r is Pearson's correlation: over the classes of an
    image, and over the images of the batch for a class.
    Deployed: the student.
    """

    beta: float = setting(2.0, "weight of the relation between classes, image by image", source=CODE, at_least=0)
    gamma: float = setting(2.0, "weight of the relation between images, class by class", source=CODE, at_least=0)
    temperature: float = setting(4.0, "T, softens both outputs", source=f"{CODE}; 1 for ImageNet", above=0)

    def lesson(self, teacher: Any, student: Any) -> Lesson:
        """Give the correlation with the teacher."""
        return Lesson(self.terms)

    def terms(self, net: Networks, batch: Batch, student: Output, teacher: Output) -> Iterator[LossTerm]:
        """Yield what is left to full correlation."""
        learns, teaches = whole_batch(student.logits), whole_batch(teacher.logits)
        value = dist(learns, teaches, self.beta, self.gamma, self.temperature)
        yield LossTerm("student", "teacher", "dist", value, over_batch="whole")

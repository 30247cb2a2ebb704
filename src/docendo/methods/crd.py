"""Contrastive representation distillation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from docendo.branches import Bank, Embeddings
from docendo.branches.bank import Rows
from docendo.core import Batch, Lesson, LossTerm, Networks, Output, setting, whole_batch
from docendo.losses import crd, crd_bank
from docendo.losses.inputs import one_class
from docendo.methods.taught import Taught

PAPER = "the paper and its code (RepDistiller)"


@dataclass(frozen=True)
class CRD(Taught):
    """Contrastive representation distillation (Tian, Krishnan, Isola, ICLR 2020, arXiv 1910.10699).

    A linear embedding of each network's pooled features learns to tell which of the other's are of the same image:

        L = ce * CE(z_S, y) + weight * ( NCE(s, bank of t) + NCE(t, bank of s) )
        NCE(e, bank) = -mean_b( log h(e_b, u_b) + sum_n log(1 - h(e_b, v_bn)) )

    u_b is the bank's row of the same image, v_bn are rows of images of other classes, see `docendo.losses.crd_bank`.
    Without a bank, the choice is among the images of the batch: `docendo.losses.crd`.
    Deployed: the student.
    """

    bank: Literal["memory", "batch"] = setting(
        "memory",
        "what to compare with: a memory of all training images, or the batch",
        source=f"{PAPER}; batch: InfoNCE",
    )
    weight: float = setting(0.8, "weight of the loss, or of each of its two halves", source=PAPER, at_least=0)
    temperature: float = setting(0.07, "T, divides the cosines", source=PAPER, above=0)
    dimensions: int = setting(128, "length of an embedding", source=PAPER, at_least=1)
    negatives: int = setting(
        16384,
        "rows of other classes drawn for each image; as many as there are images, if fewer",
        source=PAPER,
        at_least=1,
    )
    momentum: float = setting(
        0.5, "how much of a row of the memory stays when its image is seen again", source=PAPER, at_least=0, at_most=1
    )

    def lesson(self, teacher: Any, student: Any) -> Lesson:
        """Give the contrastive loss, the embeddings and the bank."""
        embeddings = Embeddings(student, teacher, self.dimensions)
        if self.bank == "batch":
            return Lesson(self.within_batch, {"crd": embeddings})
        bank = Bank(self.dimensions, self.negatives, self.momentum, self.temperature)
        return Lesson(self.with_memory, {"crd": embeddings, "crd_bank": bank})

    def with_memory(self, net: Networks, batch: Batch, student: Output, teacher: Output) -> Iterator[LossTerm]:
        """Yield a term for each network's embeddings: both learn, so that they have something to agree on."""
        s, t = self._embedded(net, student, teacher)
        of_s, of_t = net.crd_bank(
            s, t, whole_batch(one_class("crd with a bank", batch.labels)), whole_batch(batch.index)
        )
        yield LossTerm("student", "teacher", "crd", self._estimation(s, of_t), self.weight, "whole")
        yield LossTerm("crd", "student", "crd", self._estimation(t, of_s), self.weight, "whole")

    def within_batch(self, net: Networks, batch: Batch, student: Output, teacher: Output) -> Iterator[LossTerm]:
        """Yield one term, of both directions."""
        s, t = self._embedded(net, student, teacher)
        value = crd(s, t, whole_batch(batch.labels), self.temperature, detach_target=False)
        yield LossTerm("student", "teacher", "crd", value, self.weight, "whole")

    def _embedded(self, net: Networks, student: Output, teacher: Output) -> tuple[Tensor, Tensor]:
        s, t = net.crd(student.pooled, teacher.pooled.detach())  # the teacher's embedding learns, the teacher does not
        return whole_batch(s), whole_batch(t)

    def _estimation(self, embeddings: Tensor, rows: Rows) -> Tensor:
        positive, every, drawn, images, log_z = rows
        return crd_bank(embeddings, positive, every, images, self.temperature, log_normalization=log_z, drawn=drawn)

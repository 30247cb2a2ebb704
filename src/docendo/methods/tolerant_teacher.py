"""Tolerant teacher: a first generation that leaves something to a few plausible classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import nn

from docendo.core import Batch, Build, LossTerm, Networks, Train, Transfer, setting
from docendo.losses import cross_entropy, top_score_difference
from docendo.methods.confidence_penalty import ConfidencePenalty
from docendo.methods.generations import ensembles, in_generations
from docendo.methods.kd import KD
from docendo.methods.label_smoothing import LabelSmoothing


@dataclass(frozen=True)
class TolerantTeacher:
    """A more tolerant teacher educates better students (Yang, Xie, Qiao, Yuille, AAAI 2019, arXiv 1805.05551).

    The first generation is kept from being sure: its top score may not rise far above the next K - 1. Each further
    generation starts afresh and learns from the labels and the one before.

        L = eta * CE(z_0, y) + (1 - eta) * [f_1 - 1/(K-1) sum_{k=2..K} f_k]   of generation 0, and of generation m
        L = lam * CE(z_m, y) + (1 - lam) * T^2 * KL(softmax(z_{m-1} / T) || softmax(z_m / T))

    f_1 >= f_2 >= ... are the sorted probabilities softmax(z_0).
    Deployed: the last generation; the earlier ones are kept, for ensembles.
    """

    K: int = setting(
        5, "plausible classes of an image, the right one included", source="ours: 20 x 5 in CIFAR-100", at_least=2
    )
    eta: float = setting(
        0.5, "weight of generation 0's labels; 1: a strict teacher", source="zzysay/KD4NRE", above=0, at_most=1
    )
    lam: float = setting(0.5, "weight of the labels after generation 0", source="ours", at_least=0, at_most=1)
    generations: int = setting(
        2, "how many follow the tolerant one; 0: none", source="ours: each is a full training", at_least=0
    )
    temperature: float = setting(1.0, "T of the generations after 0", source="the formula has none", above=0)
    first: Literal["top_score_difference", "label_smoothing", "confidence_penalty"] = setting(
        "top_score_difference", "what keeps generation 0 tolerant; the others are compared with", source="the method"
    )
    primary: Literal["argmax", "label"] = setting(
        "argmax", "whose score stands above the next: the largest, or the label's", source="zzysay/KD4NRE"
    )
    divisor: Literal["k-1", "k"] = setting(
        "k-1", "of the sum of the next scores; k is no mean", source="the formula; k in the code of KD4NRE"
    )
    heir: Transfer | None = setting(  # noqa: RUF009  # a field, as every setting
        None, "another transfer method that teaches the later generations, without lam and T", source="the paper: none"
    )

    roles: ClassVar[tuple[str, ...]] = ("student",)

    @property
    def ensembles(self) -> Mapping[str, tuple[str, ...]]:
        """The ensembles to measure: the generations from 0 and from 1 on."""
        return ensembles(self.generations)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of these settings: from some eta on, nobody stays tolerant."""
        next_scores = self.K - 1 if self.divisor == "k-1" else self.K
        limit = (next_scores + 1) / (2 * next_scores + 1)
        if self.first != "top_score_difference" or not limit <= self.eta < 1:
            return ()
        return (
            f"warning: with eta={self.eta:g} and K={self.K} a fitted first generation is as sure as without the "
            f"tolerance term: set eta below {limit:.3f}",
        )

    def run(self, train: Train, build: Build) -> Mapping[str, nn.Module]:
        """Train the tolerant generation, then those after it."""
        first = {
            "top_score_difference": self.losses,
            "label_smoothing": LabelSmoothing(self.eta).losses,
            "confidence_penalty": ConfidencePenalty(self.eta).losses,
        }[self.first]
        heir = self.heir or KD(self.temperature, ce=self.lam, kd=1 - self.lam)
        return in_generations(train, build, first, self.generations, heir)

    def losses(self, net: Networks, batch: Batch) -> Iterator[LossTerm]:
        """Yield the two terms of generation 0."""
        logits = net.student(batch).logits
        labels = batch.labels if self.primary == "label" else None
        k = self.K if self.eta < 1 else min(self.K, logits.shape[1])  # the strict teacher needs no K classes
        tolerance = top_score_difference(logits, k, labels=labels, divisor=self.divisor)
        yield LossTerm("student", "labels", "ce", cross_entropy(logits, batch.labels), self.eta)
        yield LossTerm("student", "student", "tolerance", tolerance, 1 - self.eta)

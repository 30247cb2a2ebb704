"""Born-again networks: a network taught by one like itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from docendo.core import Build, Train, Transfer, setting
from docendo.methods.generations import ensembles, in_generations
from docendo.methods.kd import KD
from docendo.methods.plain import LabelLosses


@dataclass(frozen=True)
class BAN:
    """Born-again networks (Furlanello, Lipton, Tschannen, Itti, Anandkumar, ICML 2018, arXiv 1805.04770).

    A network learns from labels; then generation after generation of the same architecture starts afresh and learns
    from the labels and the one before.

        L = CE(z_0, y)   of generation 0, and of generation m
        L = lam * CE(z_m, y) + (1 - lam) * T^2 * KL(softmax(z_{m-1} / T) || softmax(z_m / T))

    Deployed: the last generation; the earlier ones are kept, for ensembles.
    """

    lam: float = setting(
        0.5, "weight of the labels after generation 0", source="ours: as tolerant_teacher", at_least=0, at_most=1
    )
    generations: int = setting(2, "how many follow the first", source="ours: each is a full training", at_least=0)
    temperature: float = setting(1.0, "T, softens both outputs", source="Furlanello et al.: none", above=0)
    heir: Transfer | None = setting(  # noqa: RUF009  # a field, as every setting
        None, "another transfer method that teaches the later generations, without lam and T", source="the paper: none"
    )

    roles: ClassVar[tuple[str, ...]] = ("student",)

    @property
    def ensembles(self) -> Mapping[str, tuple[str, ...]]:
        """The ensembles to measure: the generations from 0 and from 1 on."""
        return ensembles(self.generations)

    def run(self, train: Train, build: Build) -> Mapping[str, nn.Module]:
        """Train generation after generation."""
        heir = self.heir or KD(self.temperature, ce=self.lam, kd=1 - self.lam)
        return in_generations(train, build, LabelLosses("student"), self.generations, heir)

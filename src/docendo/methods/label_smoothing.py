"""Label smoothing: labels that leave something to every class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from docendo.core import Batch, Build, LossTerm, Networks, Phase, Train, setting
from docendo.losses import cross_entropy, uniform_divergence


@dataclass(frozen=True)
class LabelSmoothing:
    """Label smoothing (Szegedy, Vanhoucke, Ioffe, Shlens, Wojna, arXiv 1512.00567): no teacher, softer labels.

        L = eta * CE(z, y) + (1 - eta) * KL(u || f),   u uniform over the classes, f = softmax(z)

    Its gradient is that of cross-entropy with labels smoothed by epsilon = 1 - eta.

    Deployed: the network.
    """

    eta: float = setting(
        0.9, "weight of the cross-entropy; 1 - eta smooths", source="epsilon = 0.1 (Szegedy et al.)", above=0, at_most=1
    )

    roles: ClassVar[tuple[str, ...]] = ("student",)

    def run(self, train: Train, build: Build) -> Mapping[str, nn.Module]:
        """Train the network."""
        return train(Phase("student", {"student": build("student")}, self.losses))

    def losses(self, net: Networks, batch: Batch) -> Iterator[LossTerm]:
        """Yield the two terms."""
        logits = net.student(batch).logits
        yield LossTerm("student", "labels", "ce", cross_entropy(logits, batch.labels), self.eta)
        yield LossTerm("student", "labels", "smoothing", uniform_divergence(logits), 1 - self.eta)

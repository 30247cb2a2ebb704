"""Confidence penalty: a network that is kept from being too sure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from docendo.core import Batch, Build, LossTerm, Networks, Phase, Train, setting
from docendo.losses import confidence_penalty, cross_entropy


@dataclass(frozen=True)
class ConfidencePenalty:
    """Confidence penalty (Pereyra, Tucker, Chorowski, Kaiser, Hinton, arXiv 1701.06548): entropy is rewarded.

        L = eta * CE(z, y) - (1 - eta) * H(f),   f = softmax(z)

    The paper's CE - beta * H is this over eta, with beta = (1 - eta) / eta.

    Deployed: the network.
    """

    eta: float = setting(
        0.9,
        "weight of the cross-entropy; 1 - eta rewards entropy",
        source="ours: as label_smoothing; beta = 0.11",
        above=0,
        at_most=1,
    )

    roles: ClassVar[tuple[str, ...]] = ("student",)

    def run(self, train: Train, build: Build) -> Mapping[str, nn.Module]:
        """Train the network."""
        return train(Phase("student", {"student": build("student")}, self.losses))

    def losses(self, net: Networks, batch: Batch) -> Iterator[LossTerm]:
        """Yield the two terms."""
        logits = net.student(batch).logits
        yield LossTerm("student", "labels", "ce", cross_entropy(logits, batch.labels), self.eta)
        yield LossTerm("student", "student", "confidence", confidence_penalty(logits), 1 - self.eta)

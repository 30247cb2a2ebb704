"""DML: networks that learn together and teach each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import nn

from docendo.core import Batch, Build, LossTerm, Networks, Phase, Train, setting
from docendo.losses import cross_entropy, kd


@dataclass(frozen=True)
class DML:
    """Deep mutual learning (Zhang, Xiang, Hospedales, Lu, CVPR 2018, arXiv 1706.00384).

    K networks learn together from the labels, and each from what all others say. Nobody is trained beforehand.

        L_k = CE(z_k, y) + kl / (K-1) * sum_{l != k} T^2 * KL(softmax(z_l/T) || softmax(z_k/T))

    K is peers + 1. What the others say is detached: L_k moves network k only.
    Deployed: the student; its peers come out too.
    """

    peers: int = setting(1, "how many networks learn beside the student", source="the paper's main form", at_least=1)
    kl: float = setting(1.0, "weight of the mean divergence from the others", source="the paper", at_least=0)
    temperature: float = setting(1.0, "T, softens both outputs", source="the paper: none", above=0)
    updates: Literal["simultaneous", "alternating"] = setting(
        "simultaneous",
        "whether all take a step on one look at the batch, or one after the other, each on a new look",
        source="ours: K times cheaper, and usual; the paper's Algorithm 1 alternates",
    )

    roles: ClassVar[tuple[str, ...]] = ("student", "peer")

    @property
    def cohort(self) -> tuple[str, ...]:
        """The roles of all networks: student, peer, peer2, ..."""
        return ("student", "peer", *(f"peer{k}" for k in range(2, self.peers + 1)))

    def run(self, train: Train, build: Build) -> Mapping[str, nn.Module]:
        """Train all networks together."""
        student, *peers = self.cohort
        networks = {student: build("student"), **{role: build("peer", number=k) for k, role in enumerate(peers)}}
        return train(Phase("mutual learning", networks, self.losses, alternating=self.updates == "alternating"))

    def losses(self, net: Networks, batch: Batch) -> Iterator[LossTerm]:
        """Yield K terms a network: the labels, then each of the others."""
        logits = {role: getattr(net, role)(batch).logits for role in self.cohort}
        for learner, own in logits.items():
            yield LossTerm(learner, "labels", "ce", cross_entropy(own, batch.labels))
            for teacher, other in logits.items():
                if teacher != learner:
                    yield LossTerm(learner, teacher, "kl", kd(own, other, self.temperature), self.kl / self.peers)

"""TESKD: a network that is helped by students of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn

from docendo.branches import Heads, Pyramid, head_weights
from docendo.core import Batch, Build, LossTerm, Networks, Phase, Train, setting
from docendo.losses import cross_entropy, feature_distance, kd


@dataclass(frozen=True)
class TESKD:
    """Teacher evolution via self-knowledge distillation (Li, Li, Yang, Yang, Pan, arXiv 2110.00329).

    Small networks hang on a top-down pyramid that reads all stages of the network to deploy, and learn together with
    it, from the labels and from what it says. What they learn flows back into its stages, which is their use.

        L = ce * CE(z, y)
          + sum_i [ ce * CE(z_i, y) + kd * T^2 * KL(softmax(z/T) || softmax(z_i/T)) + feature * sum_bc (f_i - t)^2 ]

    z are the network's logits and t its pooled features, detached; z_i and f_i are those of the helper on stage i.
    The paper calls the network teacher and its helpers students; here it has the role student, as in every method
    that trains one network, and they are the parts of the pyramid.
    Deployed: the network.
    """

    ce: float = setting(
        0.2, "weight of the cross-entropy, the network's own and each helper's", source="zhengli427/TESKD", at_least=0
    )
    kd: float = setting(
        0.8, "weight of the divergence between network and helpers", source="zhengli427/TESKD", at_least=0
    )
    feature: float = setting(
        1e-7, "weight of the distance between pooled features", source="zhengli427/TESKD", at_least=0
    )
    feature_reduction: Literal["sum", "mean"] = setting(
        "sum",
        "that distance over batch and channels; a sum grows with both",
        source="zhengli427/TESKD; with mean, 6.6e-3 is the same weight at 128 images and 512 channels",
    )
    temperature: float = setting(
        4.0, "T of the divergence", source="zhengli427/TESKD today; 3 in its first commit", above=0
    )
    detach_target: bool = setting(
        False, "whether the divergence leaves the network's logits alone", source="zhengli427/TESKD: live"
    )
    head_weights: str = setting(
        "1",
        "factor on all terms of a helper: one number, or one for each, stage1 first, with commas",
        source="zhengli427/TESKD: 1",
    )

    roles: ClassVar[tuple[str, ...]] = ("student",)

    def run(self, train: Train, build: Build) -> Mapping[str, nn.Module]:
        """Train the network and its pyramid together, and drop the pyramid."""
        student = build("student")
        learners = {"student": student, "pyramid": Pyramid(student)}
        train(Phase("student", learners, self.losses, predictions=self.predictions))
        return {"student": student}

    def losses(self, net: Networks, batch: Batch) -> Iterator[LossTerm]:
        """Yield the network's term, then three a helper."""
        student = net.student(batch)
        heads: Heads = net.pyramid(student.stages)
        factors = head_weights(self.head_weights, heads)
        yield LossTerm("student", "labels", "ce", cross_entropy(student.logits, batch.labels), self.ce)
        for stage, head in heads.outputs.items():
            learner, factor = f"pyramid.{stage}", factors[stage]
            ce = cross_entropy(head.logits, batch.labels)
            divergence = kd(head.logits, student.logits, self.temperature, detach_target=self.detach_target)
            distance = feature_distance(head.pooled, heads.deepest, self.feature_reduction)
            yield LossTerm(learner, "labels", "ce", ce, factor * self.ce)
            yield LossTerm(learner, "student", "kd", divergence, factor * self.kd)
            yield LossTerm(learner, "student", "feature", distance, factor * self.feature, self.feature_reduction)

    def predictions(self, net: Networks, batch: Batch) -> Mapping[str, Tensor]:
        """Give the helpers' logits, so that their accuracy is seen after every epoch."""
        heads: Heads = net.pyramid(net.student(batch).stages)
        return {f"pyramid.{stage}": head.logits for stage, head in heads.outputs.items()}

"""BYOT: a network whose deepest classifier teaches its shallow ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from docendo.branches import Heads, ShallowClassifiers, head_weights
from docendo.core import Batch, Build, LossTerm, Networks, Phase, Train, setting
from docendo.losses import cross_entropy, feature_distance, kd

RELEASED = "the authors' later code"
"""ArchipLab-LinfengZhang/pytorch-self-distillation-final; the card says how it differs from the paper."""


@dataclass(frozen=True)
class BYOT:
    """Be your own teacher (Zhang, Song, Gao, Chen, Bao, Ma, ICCV 2019, arXiv 1905.08094).

    A classifier hangs on each stage, behind a bottleneck. The network's own, the deepest, learns from the labels and
    teaches the shallow ones, by its outputs and by its pooled features. What they learn flows back into the stages.

        L = CE(z, y)
          + sum_i [ (1 - alpha) * CE(z_i, y) + alpha * KL(softmax(z/T) || softmax(z_i/T)) + feature * ||f_i - t||^2 ]

    z are the network's logits and t its pooled features, both detached where they teach; z_i and f_i are those of the
    classifier on stage i.
    Deployed: the network with its own classifier.
    """

    alpha: float = setting(
        0.3,
        "weight of the divergence; 1 - alpha is that of the shallow classifiers' cross-entropy",
        source=RELEASED,
        at_least=0,
        at_most=1,
    )
    feature: float = setting(
        0.03,
        "weight of the squared distance between pooled features, summed over channels, mean over the batch",
        source=f"{RELEASED}, there for a distance that is not squared; the paper was not at hand",
        at_least=0,
    )
    temperature: float = setting(3.0, "T of the divergence", source=RELEASED, above=0)
    scale_kl: bool = setting(
        False, "whether T^2 multiplies the divergence, as elsewhere", source=f"{RELEASED}: it does not"
    )
    head_weights: str = setting(
        "1",
        "factor on all terms of a shallow classifier: one number, or one for each, stage1 first, with commas",
        source=f"{RELEASED}: 1",
    )

    roles: ClassVar[tuple[str, ...]] = ("student",)

    def run(self, train: Train, build: Build) -> Mapping[str, nn.Module]:
        """Train the network and its shallow classifiers together, and drop these."""
        student = build("student")
        learners = {"student": student, "classifiers": ShallowClassifiers(student)}
        train(Phase("student", learners, self.losses, predictions=self.predictions))
        return {"student": student}

    def losses(self, net: Networks, batch: Batch) -> Iterator[LossTerm]:
        """Yield the deepest classifier's term, then three a shallow one."""
        student = net.student(batch)
        heads: Heads = net.classifiers(student.stages)
        factors = head_weights(self.head_weights, heads)
        kd_weight = self.alpha if self.scale_kl else self.alpha / self.temperature**2
        yield LossTerm("student", "labels", "ce", cross_entropy(student.logits, batch.labels))
        for stage, head in heads.outputs.items():
            learner, factor = f"classifiers.{stage}", factors[stage]
            ce = cross_entropy(head.logits, batch.labels)
            divergence = kd(head.logits, student.logits, self.temperature)
            distance = feature_distance(head.pooled, heads.deepest)
            yield LossTerm(learner, "labels", "ce", ce, factor * (1 - self.alpha))
            yield LossTerm(learner, "student", "kd", divergence, factor * kd_weight)
            yield LossTerm(learner, "student", "feature", distance, factor * self.feature)

    def predictions(self, net: Networks, batch: Batch) -> Mapping[str, Tensor]:
        """Give the shallow classifiers' logits, so that their accuracy is seen after every epoch."""
        heads: Heads = net.classifiers(net.student(batch).stages)
        return {f"classifiers.{stage}": head.logits for stage, head in heads.outputs.items()}

"""SSKD: what a teacher knows of turned images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn

from docendo.branches import RotationHeads, turned, upright, with_rotations
from docendo.core import Batch, Build, Lesson, LossTerm, Networks, Phase, Train, setting, whole_batch
from docendo.errors import DocendoError
from docendo.losses import cross_entropy, kd, sskd_contrast, sskd_selected, sskd_similarity
from docendo.methods.plain import ordinary

CODE = "xuguodong03/SSKD"


@dataclass(frozen=True)
class SSKD:
    """Knowledge distillation meets self-supervision (Xu, Liu, Li, Loy, ECCV 2020, arXiv 2006.07114).

    A head on the frozen teacher learns to find the upright image of a turned one. Then the student learns from the
    labels, from the teacher's outputs on upright and on turned images, and which upright image a turned one resembles.

        L_head = contrast(h_T(f_T))                                                        moves the teacher's head only
        L = ce * CE(z_S, y) + kd * KD(z_S <- z_T)                                          on upright images
          + tf * KD(z_S <- z_T) + ss * KL(similarities of h_T(f_T) || those of h_S(f_S))   on turned ones

    Of turned images those are left out that the teacher gets most wrong. Deployed: the student.
    """

    ce: float = setting(0.1, "weight of the cross-entropy, of upright images", source=CODE, at_least=0)
    kd: float = setting(0.9, "weight of the divergence from the teacher on upright images", source=CODE, at_least=0)
    tf: float = setting(2.7, "weight of the divergence from the teacher on turned images", source=CODE, at_least=0)
    ss: float = setting(10.0, "weight of the divergence of similarities", source=CODE, at_least=0)
    temperature: float = setting(4.0, "T of both divergences of outputs", source=CODE, above=0)
    ss_temperature: float = setting(0.5, "T of the similarities", source=CODE, above=0)
    keep_tf: float = setting(
        1.0, "share kept of the turned images whose class the teacher gets wrong", source=CODE, at_least=0, at_most=1
    )
    keep_ss: float = setting(
        0.75, "share kept of those whose upright image it gets wrong", source=CODE, at_least=0, at_most=1
    )
    head_fraction: float = setting(
        0.25, "part of the epochs that the teacher's head takes", source=f"{CODE}: 60 of 240", above=0, at_most=1
    )

    roles: ClassVar[tuple[str, ...]] = ("teacher", "student")

    def run(self, train: Train, build: Build) -> Mapping[str, nn.Module]:
        """Take the given teacher or train one, then distil in two phases."""
        teacher = ordinary(train, build, "teacher")
        return {"student": self.distil(train, teacher, build("student")), "teacher": teacher}

    def distil(self, train: Train, teacher: Any, student: Any) -> Any:
        """Train the teacher's head, then the student and its own."""
        heads, frozen = RotationHeads(teacher, student), {"teacher": teacher}
        train(
            Phase(
                "self-supervision",
                {"heads": heads},
                self.contrast,
                frozen,
                stream="heads",
                fraction=self.head_fraction,
                views=with_rotations,
            )
        )
        learners = {"student": student, "heads": heads}
        return train(Phase("student", learners, self.losses, frozen, views=with_rotations))["student"]

    def lesson(self, teacher: Any, student: Any) -> Lesson:
        """Refuse to be added: all terms of a phase see the same images, and these are turned."""
        raise DocendoError(
            "sskd cannot be added to another method, as it turns the images of its phases: "
            "run it alone, or hold it, such as by sftn --set then=sskd"
        )

    def contrast(self, net: Networks, batch: Batch) -> Iterator[LossTerm]:
        """Yield what the teacher's head learns."""
        embeddings = whole_batch(net.heads("teacher", net.teacher(batch).pooled))
        value = sskd_contrast(upright(embeddings), turned(embeddings))
        yield LossTerm("heads.teacher", "teacher", "contrast", value, over_batch="whole")

    def losses(self, net: Networks, batch: Batch) -> Iterator[LossTerm]:
        """Yield two terms on upright images, then two on turned ones."""
        student, teacher, t = net.student(batch), net.teacher(batch), self.temperature
        ce = cross_entropy(upright(student.logits), upright(batch.labels))
        yield LossTerm("student", "labels", "ce", ce, self.ce)
        yield LossTerm("student", "teacher", "kd", kd(upright(student.logits), upright(teacher.logits), t), self.kd)
        learns, teaches, labels = (
            turned(whole_batch(x)).flatten(0, 1) for x in (student.logits, teacher.logits, batch.labels)
        )
        kept = sskd_selected(teaches, labels, self.keep_tf)
        # Where all scores are 0 nothing diverges. Rows picked by a mask would have to be counted first, at every step.
        learns, teaches = (torch.where(kept.unsqueeze(1), x, 0.0) for x in (learns, teaches))
        on_turned = kd(learns, teaches, t) * len(kept) / kept.sum().clamp(min=1)
        yield LossTerm("student", "teacher", "kd turned", on_turned, self.tf, "whole")
        s, f = (whole_batch(net.heads(who, of.pooled)) for who, of in (("student", student), ("teacher", teacher)))
        pairs = (upright(s), turned(s), upright(f), turned(f))
        alike = sskd_similarity(*pairs, temperature=self.ss_temperature, keep_wrong=self.keep_ss)
        yield LossTerm("student", "teacher", "similarity", alike, self.ss, "whole")

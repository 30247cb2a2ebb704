"""SOKD: a bridge that learns online between a frozen teacher and the student."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

from torch import Tensor, nn

from docendo.branches import FeatureAdapter, new_top, with_top
from docendo.branches.bridge import Pair
from docendo.core import Batch, Build, Lesson, LossTerm, Networks, Output, Phase, Train, Transfer, setting
from docendo.errors import DocendoError
from docendo.losses import attention_transfer, cross_entropy, hint, kd
from docendo.methods.plain import ordinary
from docendo.methods.taught import learners_of, terms_of

CODE = "swlzq/Semi-Online-KD"


@dataclass(frozen=True)
class SOKD:
    """Semi-online knowledge distillation (Liu, Liu, Huang, BMVC 2021, arXiv 2111.11747).

    A trained teacher stays frozen. The *bridge*, a new copy of its top fed with its lower features, learns together
    with the student: the frozen head teaches the bridge, bridge and student teach each other.

        L_A = a1 * CE(z_A, y) + a2 * KD(z_A <- z_T) + a3 * KD(z_A <- z_S)            moves the bridge only
        L_S = l1 * CE(z_S, y) + l2 * KD(z_S <- z_A)                                  moves the student only
        KD(a <- b) = T^2 * KL(softmax(b/T) || softmax(a/T))

    Deployed: the student; frozen trunk and bridge come out too, as one evolved teacher.
    """

    a1: float = setting(1.0, "weight of the bridge's cross-entropy", source=CODE, at_least=0)
    a2: float = setting(1.0, "weight of the frozen head's teaching of the bridge", source=CODE, at_least=0)
    a3: float = setting(1.0, "weight of the student's teaching of the bridge", source=CODE, at_least=0)
    l1: float = setting(1.0, "weight of the student's cross-entropy", source=CODE, at_least=0)
    l2: float = setting(1.0, "weight of the bridge's teaching of the student", source=CODE, at_least=0)
    temperature: float = setting(4.0, "T, softens all outputs", source=f"{CODE}; 3 in wp502/SKD-RSL", above=0)
    bridge_rate: float = setting(
        1.0, "learning rate of the bridge, as a factor on the run's", source=f"{CODE}: 0.1 for both", above=0
    )
    bridge_init: Literal["fresh", "trained"] = setting(
        "fresh", "whether the bridge starts anew or from the teacher's trained top", source=f"{CODE}: fresh"
    )
    split: int = setting(1, "how many of the teacher's last stages the bridge copies", source=CODE, at_least=0)
    transfer: Literal["none", "at", "hint"] = setting(
        "none", "what last stages teach each other too: attention, or their features", source=f"{CODE}; at, hint: ours"
    )
    at: float = setting(1000.0, "weight of transfer=at", source="Zagoruyko and Komodakis; RepDistiller", at_least=0)
    hint: float = setting(100.0, "weight of each term of transfer=hint", source="RepDistiller's FitNet", at_least=0)
    frozen_statistics: Literal["running", "batch"] = setting(
        "running",
        "statistics in the frozen teacher's BatchNorm; with batch its buffers drift",
        source=f"what frozen means; {CODE}: batch",
    )
    add: tuple[Transfer, ...] = setting(
        (), "transfer methods by whose losses the evolved teacher teaches the student too", source="ours: none"
    )

    roles: ClassVar[tuple[str, ...]] = ("teacher", "student")

    def run(self, train: Train, build: Build) -> Mapping[str, nn.Module]:
        """Take the given teacher or train one, then train student and bridge together."""
        teacher, student = ordinary(train, build, "teacher"), build("student")
        lessons = [method.lesson(teacher, student) for method in self.add]
        new = new_top(teacher, self.split, trained=self.bridge_init == "trained")
        learners = {"student": student, "bridge": new, **learners_of(lessons)}
        if self.transfer != "none":
            if not self.split:
                raise DocendoError(f"sokd: transfer={self.transfer} compares last stages, of which split=0 has none")
            for role, of, to in (("student_adapter", student, teacher), ("bridge_adapter", teacher, student)):
                learners[role] = FeatureAdapter(of, to, resize=self.transfer == "hint")
        phase = Phase(
            "student and bridge",
            learners,
            partial(self.losses, lessons),
            frozen={"teacher": teacher},
            learning_rates={"bridge": self.bridge_rate, "bridge_adapter": self.bridge_rate},
            frozen_statistics=self.frozen_statistics,
            predictions=self.predictions,
        )
        learned = train(phase)
        evolved = with_top(teacher, learned["bridge"], self.split)
        return {"student": learned["student"], "evolved_teacher": evolved, "teacher": teacher}

    def losses(self, lessons: Sequence[Lesson], net: Networks, batch: Batch) -> Iterator[LossTerm]:
        """Yield the bridge's three terms, then the student's two, then those of features and of what is added."""
        student, teacher = net.student(batch), net.teacher(batch)
        bridge = net.bridge(teacher.stages[-1 - self.split])
        t = self.temperature
        yield LossTerm("bridge", "labels", "ce", cross_entropy(bridge.logits, batch.labels), self.a1)
        yield LossTerm("bridge", "teacher", "kd", kd(bridge.logits, teacher.logits, t), self.a2)
        yield LossTerm("bridge", "student", "kd", kd(bridge.logits, student.logits, t), self.a3)
        yield LossTerm("student", "labels", "ce", cross_entropy(student.logits, batch.labels), self.l1)
        yield LossTerm("student", "bridge", "kd", kd(student.logits, bridge.logits, t), self.l2)
        if self.transfer != "none":
            yield from self._compare("student", "bridge", net.student_adapter(student, bridge))
            yield from self._compare("bridge", "student", net.bridge_adapter(bridge, student))
        if lessons:
            stages = *teacher.stages[: len(teacher.stages) - self.split], *bridge.stages
            for term in terms_of(lessons, net, batch, student, Output(bridge.logits, bridge.pooled, stages)):
                kind = "added kd" if term.kind == "kd" else term.kind  # another name than that of SOKD's own
                yield term._replace(teacher="bridge" if term.teacher == "teacher" else term.teacher, kind=kind)

    def _compare(self, learner: str, teacher: str, features: tuple[Pair, Pair]) -> Iterator[LossTerm]:
        maps, pooled = features
        if self.transfer == "at":
            yield LossTerm(learner, teacher, "at", attention_transfer(*maps), self.at)
        else:
            yield LossTerm(learner, teacher, "hint maps", hint(*maps), self.hint)
            yield LossTerm(learner, teacher, "hint pooled", hint(*pooled), self.hint)

    def predictions(self, net: Networks, batch: Batch) -> Mapping[str, Tensor]:
        """Give what trunk and bridge say together."""
        return {"evolved_teacher": net.bridge(net.teacher(batch).stages[-1 - self.split]).logits}

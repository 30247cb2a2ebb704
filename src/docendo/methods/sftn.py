"""SFTN: a teacher that is trained to be easy to learn from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import nn

from docendo.branches import StudentBranches
from docendo.core import Batch, Build, LossTerm, Networks, Phase, Train, Transfer, setting
from docendo.errors import DocendoError
from docendo.losses import cross_entropy, kd
from docendo.methods.kd import KD
from docendo.methods.plain import ordinary


@dataclass(frozen=True)
class SFTN:
    """Student-friendly teacher network (Park, Cha, Jeong, Kim, Han, NeurIPS 2021, arXiv 2102.07650).

    Copies of the student's later stages hang on the teacher's stages and train with it, so that its features become
    easy for that kind of student. Then the branches are dropped and any transfer method teaches a fresh student.

        L = teacher_ce * CE(z_T, y)
          + 1/(N-1) sum_i [ branch_kl * T^2 * KL(softmax(z_T/T) || softmax(z_i/T)) + branch_ce * CE(z_i, y) ]

    N - 1 is the number of branches, N that of paired stages. Features enter the branches attached: that is the method.
    Deployed: the distilled student.
    """

    teacher_ce: float = setting(1.0, "weight of the teacher's own cross-entropy", source="kimyuji/SFTN_kd", at_least=0)
    branch_kl: float = setting(
        3.0, "weight of the divergence between teacher and branches", source="kimyuji/SFTN_kd, CIFAR-100", at_least=0
    )
    branch_ce: float = setting(1.0, "weight of the branches' cross-entropy", source="kimyuji/SFTN_kd", at_least=0)
    temperature: float = setting(
        1.0, "T of the branches' divergence; distillation keeps its own", source="kimyuji/SFTN_kd", above=0
    )
    detach_teacher: bool = setting(
        False, "whether branches shape features only, not the teacher's logits", source="both released codes: live"
    )
    kl_direction: Literal["forward", "reverse"] = setting(
        "forward", "forward: KL(teacher || branch); reverse: KL(branch || teacher)", source="kimyuji/SFTN_kd"
    )
    share_tails: bool = setting(False, "whether all branches use one tail's layers", source="kimyuji/SFTN_kd")
    pairs: str = setting(
        "",
        "teacher's stages that bear branches, with the student's stage that each stands for, such as 2:1; "
        "empty: from the end, without the last",
        source="ours; the released code pairs by index, which is the same on its networks",
    )
    start: Literal["scratch", "trained"] = setting(
        "scratch", "fresh teacher, or a trained one that is tuned to be friendly", source="the paper's main form"
    )
    finetune_fraction: float = setting(
        0.25,
        "part of the epochs that a trained start takes",
        source="60 of 240 epochs in the paper",
        above=0,
        at_most=1,
    )
    then: Transfer = setting(  # noqa: RUF009  # a field, as every setting
        KD(), "the transfer method that teaches the student", source="the paper: any; ours: KD"
    )

    roles: ClassVar[tuple[str, ...]] = ("teacher", "student")

    def run(self, train: Train, build: Build) -> Mapping[str, nn.Module]:
        """Make the teacher friendly to this student, then distil a fresh one."""
        trained = self.start == "trained"
        if build.is_trained("teacher") and not trained:
            raise DocendoError(
                "sftn trains its teacher from scratch, but weights were given for the teacher: "
                "name its architecture instead, or tune those weights with --set start=trained"
            )
        teacher = ordinary(train, build, "teacher", frozen=False) if trained else build("teacher")
        student = build("student")
        branches = StudentBranches(teacher, student, pairs=self.pairs, share_tails=self.share_tails)
        friendly = train(
            Phase(
                "friendly teacher",
                {"teacher": teacher, "branches": branches},
                self.losses,
                fraction=self.finetune_fraction if trained else 1.0,
            )
        )["teacher"]
        return {"student": self.then.distil(train, friendly, student), "teacher": friendly}

    def losses(self, net: Networks, batch: Batch) -> Iterator[LossTerm]:
        """Yield the teacher's term, then two a branch."""
        teacher = net.teacher(batch)
        branches = net.branches(teacher.stages)
        yield LossTerm("teacher", "labels", "ce", cross_entropy(teacher.logits, batch.labels), self.teacher_ce)
        target = teacher.logits.detach() if self.detach_teacher else teacher.logits
        for i, (pair, branch) in enumerate(branches.items()):
            learns, teaches = (branch.logits, target) if self.kl_direction == "forward" else (target, branch.logits)
            divergence = kd(learns, teaches, self.temperature, detach_target=False)
            ce = cross_entropy(branch.logits, batch.labels)
            yield LossTerm(f"branches.{i}", "teacher", f"kl {pair}", divergence, self.branch_kl / len(branches))
            yield LossTerm(f"branches.{i}", "labels", f"ce {pair}", ce, self.branch_ce / len(branches))

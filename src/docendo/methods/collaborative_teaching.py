"""Collaborative teaching (not Curriculum Temperature, which is called CTKD too)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

from torch import nn

from docendo.branches import StagePairs, share_stem
from docendo.core import Batch, Build, LossTerm, Networks, Phase, Train, setting
from docendo.methods.at import attention_terms
from docendo.methods.plain import ordinary
from docendo.methods.rocket_launching import launch_terms


@dataclass(frozen=True)
class CollaborativeTeaching:
    """Collaborative teaching (Zhao, Sun, Dong, Chen, Dong, IEEE Trans. Cybernetics 2022, arXiv 1907.09643).

    Two teachers at once: the scratch teacher learns beside the student, which follows its path step by step; the
    expert, trained before and frozen, shows where to look.

        L = CE(z_C, y) + CE(z_S, y) + path * mean_b sum_classes (z_S - stop(z_C))^2
          + attention * sum_i mean_p (A(F_S^i) - A(F_E^i))^2

    A(F) is the mean over channels of F^2, over its L2 norm; i runs over the paired stages, p over places.
    Deployed: the student.
    """

    path: float = setting(
        0.03, "weight of the squared difference of logits", source="zhougr1993/Rocket-Launching", at_least=0
    )
    attention: float = setting(
        1000.0, "weight of each pair's attention loss; 0: no expert", source="both codes it builds on", at_least=0
    )
    expert_to: Literal["student", "scratch", "both"] = setting(
        "student", "whom the expert shows where to look", source="the abstract; the released code: scratch"
    )
    share_stem: bool = setting(
        False,
        "whether student and scratch teacher train one and the same first convolution",
        source="ours: any two networks serve; the released code: true",
    )
    pairs: str = setting(
        "", "stages compared, expert's to learner's, such as 2:1,3:2; empty: all, from the end", source="released code"
    )

    roles: ClassVar[tuple[str, ...]] = ("student", "expert", "scratch")

    def run(self, train: Train, build: Build) -> Mapping[str, nn.Module]:
        """Take the given expert or train one, then train student and scratch teacher side by side."""
        frozen = {"expert": ordinary(train, build, "expert")} if self.attention else {}
        learners = {"student": build("student"), "scratch": build("scratch")}
        if self.share_stem:
            share_stem(learners["student"], learners["scratch"])
        pairs = {}
        for role in ("student", "scratch"):
            if frozen and self.expert_to in (role, "both"):
                pairs[role] = StagePairs.of(self.pairs, frozen["expert"], learners[role])
        trained = train(Phase("student and scratch", learners, partial(self.losses, pairs), frozen))
        return {**trained, **frozen}

    def losses(self, pairs: Mapping[str, StagePairs], net: Networks, batch: Batch) -> Iterator[LossTerm]:
        """Yield the scratch teacher's part, then the expert's."""
        yield from launch_terms(net, batch, "path", self.path)
        for learner, stages in pairs.items():
            learns, teaches = getattr(net, learner)(batch), net.expert(batch)
            yield from attention_terms(learner, learns, "expert", teaches, stages, self.attention)

"""ReviewKD: how its weight rises, and that a stage is told from all deeper ones."""

import pytest
import torch

import docendo
from docendo.core import Batch
from docendo.engine.networks import Learners
from docendo.methods import ReviewKD
from docendo.networks import create
from tests.tiny import cast

TINY = cast("native", ReviewKD.roles)


@pytest.mark.parametrize(("progress", "weight"), [(0.0, 0.15), (0.25, 1.5), (0.5, 3.0), (1.0, 3.0)])
def test_its_weight_rises_in_the_warm_up(progress: float, weight: float) -> None:
    teacher, student = (create(TINY[role], classes=10, channels=1, image_size=8) for role in ("teacher", "student"))
    phase = ReviewKD(weight=3, warmup=0.5).phase(teacher, student)
    batch = Batch.of(torch.randn(2, 1, 8, 8), torch.tensor([1, 2]))._replace(progress=progress)
    labels, *levels = Learners(phase.learners, phase.losses)(batch, {"teacher": teacher(batch.images)})
    assert labels.weight == 1
    assert [term.weight for term in levels] == [pytest.approx(weight)] * 4


def test_a_shallow_stage_is_told_with_the_help_of_deep_ones() -> None:
    explanation = docendo.explain(ReviewKD(pairs="1:1"), set={"data.train_images": 20}, **TINY)
    term = next(term for term in explanation.phases[1].terms if term.name == "student<teacher:review 1:1")
    assert {"student.stage1", "student.stage2", "student.stage3"} <= set(term.reaches)
    assert "student.head" not in term.reaches

"""OFD: what is asked where the teacher's ReLU is closed."""

import torch
from torch import Tensor

from docendo.core import Batch
from docendo.engine.networks import Learners
from docendo.methods import OFD
from docendo.networks import create
from tests.tiny import cast

TINY = cast("native", OFD.roles)


def value_of(target: Tensor, said: Tensor) -> float:
    """Give the loss of the last pair where the connector says so, times the batch size."""
    teacher, student = (create(TINY[role], classes=10, channels=1, image_size=8) for role in ("teacher", "student"))
    phase = OFD(pairs="3:3").phase(teacher, student)
    phase.learners["ofd"]["3:3"].forward = lambda features: said  # type: ignore[index]
    batch = Batch.of(torch.randn(len(target), 1, 8, 8), torch.zeros(len(target), dtype=torch.int64))
    answer = teacher(batch.images)
    _, term = Learners(phase.learners, phase.losses)(batch, {"teacher": answer._replace(stages=(None, None, target))})
    return term.value.item() * len(target)


def test_below_the_margin_nothing_is_asked_and_above_it_only_to_be_lower() -> None:
    torch.manual_seed(0)
    target = torch.randn(8, 24, 2, 2).relu()  # the margin is about -0.8
    low, high = target.where(target > 0, torch.tensor(-2.0)), target.where(target > 0, torch.tensor(1.0))
    assert value_of(target, low) == 0
    closed = (target == 0).sum()
    assert 0.7 * 1.8**2 * closed < value_of(target, high) < 1.3 * 1.8**2 * closed


def test_what_is_let_through_is_to_be_copied() -> None:
    torch.manual_seed(0)
    target = torch.rand(4, 24, 2, 2) + 1
    assert value_of(target, target) == 0
    assert abs(value_of(target, target - 0.5) - 0.25 * target.numel()) < 1e-2

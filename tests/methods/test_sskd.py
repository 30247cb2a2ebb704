"""SSKD: its heads learn their task, and it refuses to be added. Its losses are tested among the losses."""

import pytest
import torch

from docendo.branches import RotationHeads, with_rotations
from docendo.core import Batch
from docendo.engine.networks import Learners
from docendo.errors import DocendoError
from docendo.methods import KD, SFTN, SSKD, make
from docendo.networks import create


def test_the_head_learns_which_images_belong_together() -> None:
    torch.manual_seed(0)
    teacher = create("resnet8", classes=10, channels=1, image_size=8).eval().requires_grad_(False)
    learners = Learners({"heads": RotationHeads(teacher, teacher)}, SSKD().contrast)
    batch = with_rotations(Batch.of(torch.randn(8, 1, 8, 8), torch.arange(8)))
    answers = {"teacher": teacher(batch.images)}
    optimizer = torch.optim.Adam(learners.roles["heads"]["teacher"].parameters(), lr=0.01)
    values = []
    for _ in range(100):
        (term,) = learners(batch, answers)
        optimizer.zero_grad()
        term.value.backward()
        optimizer.step()
        values.append(term.value.item())
    assert values[0] > 1.9  # log 8 is 2.08: at first all look alike
    assert values[-1] < 1.3  # of eight cosines in [-1, 1] with T = 1, the loss is at least 0.66


def test_it_is_held_but_not_added() -> None:
    assert make("sftn", {"then": "sskd", "then.tf": "1"}) == SFTN(then=SSKD(tf=1))
    network = create("resnet8", classes=10, channels=1, image_size=8)
    with pytest.raises(DocendoError, match="sskd cannot be added to another method, as it turns the images"):
        KD(add=(SSKD(),)).phase(network, network)

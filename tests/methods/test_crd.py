"""CRD: what it learns with, whom it leaves alone, and that a checkpoint holds its bank."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import docendo
from docendo.core import Batch, Output
from docendo.engine.networks import fit
from docendo.errors import Interrupted
from docendo.methods import CRD, KD, SOKD
from docendo.networks import create
from tests.conftest import StopAt, same, weights
from tests.tiny import cast

TINY = cast("native", CRD.roles)


@pytest.mark.parametrize("bank", ["memory", "batch"])
def test_a_teacher_that_learns_beside_is_not_moved_by_it(bank: str) -> None:
    """The evolved teacher of SOKD has a graph: the embedding of its features learns, its bridge must not."""
    method = SOKD(add=(CRD(bank=bank),))
    phase = docendo.explain(method, set={"data.train_images": 20}, **TINY).phases[-1]
    added = {term.name: term.reaches for term in phase.terms if term.name.endswith(":crd")}
    names = {"student<bridge:crd", "crd<student:crd"} if bank == "memory" else {"student<bridge:crd"}
    assert added.keys() == names
    assert not any(part.startswith("bridge") for reaches in added.values() for part in reaches)


def test_a_checkpoint_holds_the_bank(small_run: Callable[..., docendo.Run], tmp_path: Path) -> None:
    """The student's weights alone would not tell: this looks at the bank itself, stopped in the first epoch or not."""
    method = KD(add=(CRD(negatives=16, dimensions=8),))
    small_run(method, "straight", epochs=1, **TINY)
    with pytest.raises(Interrupted):
        small_run(method, "stopped", epochs=1, progress=StopAt(6), **TINY)
    small_run(method, "stopped", epochs=1, resume=True, **TINY)
    banks = [
        torch.load(next((tmp_path / out / "checkpoints").glob("02-*.done.pt")), weights_only=True)["learners"][
            "crd_bank"
        ]
        for out in ("straight", "stopped")
    ]
    assert banks[0]["student"].shape == (200, 8)
    assert banks[0]["steps"] == 4
    assert (banks[0]["labels"] >= 0).all()
    assert same(*banks)


def test_without_it_the_student_is_plain(small_run: Callable[..., docendo.Run]) -> None:
    off = small_run(CRD(weight=0), "off", epochs=1, **TINY)
    plain = small_run("plain", "plain", epochs=1, student=TINY["student"])
    assert same(weights(off.folder, "student"), weights(plain.folder, "student"))


@pytest.mark.parametrize("bank", ["memory", "batch"])
def test_embeddings_learn_to_tell_images_apart(bank: str) -> None:
    """Of fixed features: the student's follow from the teacher's, so each image can be found on the other side."""
    torch.manual_seed(0)
    student, teacher = (create(TINY[role], classes=10, channels=1, image_size=8) for role in ("student", "teacher"))
    method = CRD(bank=bank, dimensions=16, negatives=32)
    lesson = method.lesson(teacher, student)
    fit(lesson.learners, images=64)
    net: Any = SimpleNamespace(**lesson.learners)
    optimizer = torch.optim.SGD([p for m in lesson.learners.values() for p in m.parameters()], lr=0.1, momentum=0.9)
    teaches = torch.randn(64, 24)
    learns = teaches @ torch.randn(24, 16)
    labels, values = torch.arange(64) % 10, []
    for step in range(200):
        index = torch.arange(64).roll(16 * step)[:16]
        batch = Batch.of(images=index, labels=labels[index])._replace(index=index)
        said = (Output(of[index], of[index], ()) for of in (learns, teaches))
        loss = sum(term.weight * term.value for term in lesson.terms(net, batch, *said))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert sum(values[-4:]) < 0.5 * sum(values[4:8])  # the bank's first rows are no embeddings yet
    s, t = (F.normalize(e) for e in net.crd(learns, teaches))
    found = (s @ t.mT).masked_fill((labels[:, None] == labels).fill_diagonal_(False), -2).argmax(dim=1)
    assert (found == torch.arange(64)).float().mean() > 0.9

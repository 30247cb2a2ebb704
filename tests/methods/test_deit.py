"""DeiT's hard distillation: its limit, and that no token is deployed."""

from collections.abc import Callable

import torch

import docendo
from docendo.core import Batch, Output
from docendo.losses import cross_entropy
from docendo.methods import DeiT
from tests.conftest import same, weights
from tests.tiny import cast

SmallRun = Callable[..., docendo.Run]
TINY = cast("native", DeiT.roles)


def test_a_teacher_that_is_always_right_is_one_more_look_at_the_labels() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(6, 5), torch.arange(6) % 5
    said = Output(logits, logits, ()), Output(torch.eye(5)[labels], logits, ())
    batch = Batch.of(torch.zeros(6, 1, 2, 2), labels)
    (term,) = DeiT().lesson(None, None).terms(None, batch, *said)  # type: ignore[arg-type]  # no network is asked
    assert torch.equal(term.value, cross_entropy(logits, labels))


def test_without_its_weight_the_student_is_plain(small_run: SmallRun) -> None:
    off = small_run(DeiT(weight=0, ce=1), "off", epochs=1, **TINY)
    plain = small_run("plain", "plain", epochs=1, student=TINY["student"])
    assert same(weights(off.folder, "student"), weights(plain.folder, "student"))


def test_the_token_is_dropped(small_run: SmallRun) -> None:
    run = small_run(DeiT(token=True), "token", epochs=1, **TINY)
    plain = small_run("plain", "plain", epochs=1, student=TINY["student"])
    found, expected = weights(run.folder, "student"), weights(plain.folder, "student")
    assert found.keys() == expected.keys()
    assert not same(found, expected)

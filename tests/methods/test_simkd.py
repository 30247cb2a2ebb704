"""SimKD: what is deployed, and who can be added to whom."""

from collections.abc import Callable

import pytest
import torch

import docendo
from docendo.errors import DocendoError
from docendo.methods import AT, KD, SimKD
from tests.conftest import same, weights
from tests.tiny import cast

SmallRun = Callable[..., docendo.Run]
TINY = cast("native", SimKD.roles)


def test_the_deployed_network_ends_in_the_trained_teachers_head(small_run: SmallRun) -> None:
    run = small_run("simkd", epochs=1, **TINY)
    student, teacher = weights(run.folder, "student"), weights(run.folder, "teacher")
    head = {key.removeprefix("reused."): value for key, value in student.items() if key.startswith("reused.")}
    assert same(head, {key: value for key, value in teacher.items() if key in head})
    assert head.keys() == {"classifier.weight", "classifier.bias"}
    assert run.network.spec.architecture == f"{TINY['student']}+{TINY['teacher']}"
    assert run.results["networks"]["student"]["parameters"] == sum(p.numel() for p in run.network.parameters())


def test_others_can_be_added_to_it_but_it_to_none(small_run: SmallRun) -> None:
    run = small_run(SimKD(add=(AT(weight=10),)), epochs=1, **TINY)
    assert torch.isfinite(run.network(torch.randn(2, 1, 8, 8)).logits).all()
    with pytest.raises(
        DocendoError, match=r"^simkd cannot be added to another method, as its student is deployed with"
    ):
        docendo.explain(KD(add=(SimKD(),)), set={"data.train_images": 20}, **TINY)


def test_it_is_an_heir_generation_after_generation(small_run: SmallRun) -> None:
    run = small_run("ban", epochs=1, set={"heir": "simkd", "generations": 2}, student=TINY["student"])
    assert run.network.spec.architecture == "+".join([TINY["student"]] * 3)

"""Methods that compare how the images of a batch lie to each other: what of the networks they leave free."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

import docendo
from docendo.core import Batch, Output
from docendo.errors import DocendoError
from docendo.methods import CC, DIST, PKT, RKD, SP
from tests.conftest import same, weights
from tests.tiny import cast

B = 6
BATCH = Batch.of(torch.zeros(B, 1, 2, 2), torch.arange(B) % 5)


def outputs(seed: int, width: int = 4) -> Output:
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(B, *shape, generator=generator, dtype=torch.float64)

    return Output(drawn(5), drawn(width), (drawn(width, 4, 4), drawn(width, 2, 2)))


def total(method: Any, student: Output, teacher: Output) -> float:
    """Add up the terms of a method that asks nothing of the networks themselves."""
    return sum(
        term.weight * term.value.item() for term in method.lesson(None, None).terms(None, BATCH, student, teacher)
    )


@pytest.mark.parametrize("method", [PKT(), CC(), RKD()], ids=lambda method: type(method).__name__)
def test_a_student_may_be_larger_and_turned(method: Any) -> None:
    teacher = outputs(0)
    turned, _ = torch.linalg.qr(outputs(1).pooled.mT @ outputs(1).pooled)
    alike = teacher._replace(pooled=3 * teacher.pooled @ turned)
    assert total(method, alike, teacher) == pytest.approx(0, abs=1e-6)
    assert total(method, outputs(2, width=7), teacher) > 0.1


def test_a_student_of_dist_may_be_surer_in_what_it_prefers() -> None:
    teacher = outputs(0)
    shifted = teacher._replace(logits=teacher.logits + torch.arange(B).unsqueeze(1))  # of each image, all alike
    assert total(DIST(), shifted, teacher) == pytest.approx(0, abs=1e-6)
    assert total(DIST(), outputs(1), teacher) > 0.1


@pytest.mark.parametrize(
    ("pairs", "stages"), [("", {"3:3": 3}), ("2:1", {"2:1": 1}), ("1:1,2:3", {"1:1": 1, "2:3": 3})]
)
def test_similarities_are_those_of_the_last_stages_or_of_the_chosen_ones(pairs: str, stages: dict[str, int]) -> None:
    plan = docendo.explain(SP(pairs=pairs), set={"data.train_images": 64}, **cast("native", SP.roles)).phases[1]
    student = ("student.stage1", "student.stage2", "student.stage3")
    found = {term.name: term.reaches for term in plan.terms if term.name != "student<labels:ce"}
    assert found == {f"student<teacher:sp {pair}": student[:stage] for pair, stage in stages.items()}


def test_stages_that_are_not_there_are_refused() -> None:
    with pytest.raises(DocendoError, match="pairs has 4:1, but the teacher has stages 1 to 3 and the student 1 to 3"):
        docendo.explain(SP(pairs="4:1"), set={"data.train_images": 64}, **cast("native", SP.roles))


@pytest.mark.parametrize(
    "method",
    [SP(weight=0), PKT(weight=0), CC(weight=0), RKD(distance=0, angle=0)],
    ids=lambda method: type(method).__name__,
)
def test_without_relations_the_student_is_plain(method: Any, small_run: Callable[..., docendo.Run]) -> None:
    networks = cast("native", method.roles)
    off, plain = small_run(method, "off", **networks), small_run("plain", "plain", student=networks["student"])
    assert same(weights(off.folder, "student"), weights(plain.folder, "student"))


def test_the_last_batch_may_be_two_images(small_run: Callable[..., docendo.Run]) -> None:
    for method in (DIST(), SP(), PKT(), CC(), RKD()):
        name = type(method).__name__
        run = small_run(
            method, name, epochs=1, batch_size=31, set={"data.train_images": 64}, **cast("native", method.roles)
        )
        assert all(torch.isfinite(tensor).all() for tensor in weights(run.folder, "student").values())

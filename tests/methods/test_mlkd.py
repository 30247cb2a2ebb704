"""Multi-level logit distillation: its temperatures."""

import pytest
import torch

import docendo
from docendo.core import Batch, Output
from docendo.errors import DocendoError
from docendo.methods import KD, MLKD
from tests.tiny import cast


@pytest.mark.parametrize("temperatures", ["", "2,", "2;4", "four", "0,4", "4,-2", "nan", "4,nan", "inf"])
def test_what_are_no_temperatures_is_refused(temperatures: str) -> None:
    with pytest.raises(DocendoError) as refused:
        docendo.explain(MLKD(temperatures=temperatures), set={"data.train_images": 64}, **cast("native", MLKD.roles))
    assert str(refused.value) == (
        f'mlkd: temperatures is "{temperatures}", but must be numbers above 0 with commas between, such as 2,4'
    )


def test_its_first_level_is_plain_distillation_at_each_temperature() -> None:
    torch.manual_seed(0)
    student, teacher = (torch.randn(6, 5, dtype=torch.float64) for _ in range(2))
    batch, nobody = Batch.of(torch.zeros(6, 1, 2, 2), torch.arange(6) % 5), None
    said = Output(student, student, ()), Output(teacher, teacher, ())
    instance, *_ = MLKD(temperatures=" 3, 5").lesson(nobody, nobody).terms(nobody, batch, *said)  # type: ignore[arg-type]
    plain = [
        term.value
        for temperature in (3, 5)
        for term in KD(temperature=temperature).lesson(nobody, nobody).terms(nobody, batch, *said)  # type: ignore[arg-type]
    ]
    torch.testing.assert_close(instance.value, sum(plain))

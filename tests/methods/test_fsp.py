"""FSP: what it needs, and that equal widths need nothing besides."""

import pytest

import docendo
from docendo.errors import DocendoError
from docendo.methods import FSP
from tests.tiny import cast

TINY = cast("native", FSP.roles)


def test_one_pair_is_refused() -> None:
    message = (
        r"^fsp compares how features change from one paired stage to the next, and there is one pair, 3:2: give two"
    )
    with pytest.raises(DocendoError, match=message):
        docendo.explain(FSP(pairs="3:2"), set={"data.train_images": 20}, **TINY)


def test_equal_widths_need_no_convolution() -> None:
    phase = docendo.explain("fsp", set={"data.train_images": 20}, teacher="tiny", student="tiny").phases[1]
    assert phase.parameters["fsp"] == 0
    assert [term.name for term in phase.terms] == [
        "student<labels:ce",
        *(f"student<teacher:fsp {i}:{i} {i + 1}:{i + 1}" for i in (1, 2)),
    ]
    assert phase.terms[2].reaches == ("student.stage1", "student.stage2", "student.stage3")

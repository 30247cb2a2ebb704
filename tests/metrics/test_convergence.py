"""How many epochs it takes to reach an accuracy."""

import csv
import io

import pytest

from docendo.errors import DocendoError
from docendo.metrics import first_epoch

TOP1 = "val_top1/student"
ROWS = [
    {"phase": "hint", "epoch": 1, "loss/total": 2.0},
    {"phase": "student", "epoch": 1, "loss/total": 2.0, TOP1: 0.25},
    {"phase": "student", "epoch": 2, "loss/total": 1.0, TOP1: float("nan")},
    {"phase": "student", "epoch": 3, "loss/total": 1.0, TOP1: 0.75},
    {"phase": "student", "epoch": 4, "loss/total": 1.0, TOP1: 0.5},
]


@pytest.mark.parametrize(("accuracy", "epoch"), [(0, 2), (0.25, 2), (0.26, 4), (0.75, 4), (0.76, None)])
def test_first_epoch(accuracy: float, epoch: int | None) -> None:
    assert first_epoch(ROWS, TOP1, accuracy) == epoch


def test_one_phase_alone() -> None:
    assert first_epoch([row for row in ROWS if row["phase"] == "student"], TOP1, 0.5) == 3


def test_rows_of_a_csv_file() -> None:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, ["phase", "epoch", "loss/total", TOP1])
    writer.writeheader()
    writer.writerows(ROWS)
    text.seek(0)
    assert first_epoch(list(csv.DictReader(text)), TOP1, 0.5) == 4


@pytest.mark.parametrize("rows", [ROWS, []])
def test_an_unknown_column(rows: list[dict[str, object]]) -> None:
    with pytest.raises(DocendoError, match='no row of metrics has a column "val_top1/studnet"'):
        first_epoch(rows, "val_top1/studnet", 0.5)

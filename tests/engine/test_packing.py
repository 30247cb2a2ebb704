"""Logits as bytes: whole ones come back bit for bit, the largest with the probability of the rest."""

import pytest
import torch

from docendo.engine.packing import Largest, Whole

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


@pytest.mark.parametrize("dtype", DTYPES)
def test_whole_rows_come_back(dtype: torch.dtype) -> None:
    logits = torch.randn(6, 11).to(dtype)
    packing = Whole(11, dtype)
    rows = packing.pack(logits)
    assert rows.shape == (6, packing.bytes)
    assert torch.equal(packing.unpack(rows), logits)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", [11, 40_000])
def test_the_largest_and_the_mass_of_the_rest(dtype: torch.dtype, classes: int) -> None:
    logits = torch.randn(6, classes).to(dtype)
    packing = Largest(4, classes, dtype)
    rows = packing.pack(logits)
    assert rows.shape == (6, packing.bytes)
    found = packing.unpack(rows)
    places = logits.topk(4).indices
    assert torch.equal(found.gather(1, places), logits.gather(1, places))
    exact, kept = (x.double().softmax(1).gather(1, places).sum(1) for x in (logits, found))
    torch.testing.assert_close(kept, exact, rtol=0, atol=20 * torch.finfo(dtype).eps)
    others = found.scatter(1, places, torch.nan)
    assert all(len(row[~row.isnan()].unique()) == 1 for row in others)


@pytest.mark.parametrize("scale", [1e4, 1e-4])
def test_extreme_logits(scale: float) -> None:
    logits = scale * torch.randn(5, 20)
    packing = Largest(3, 20, torch.float32)
    torch.testing.assert_close(
        packing.unpack(packing.pack(logits)).softmax(1).topk(3).values, logits.softmax(1).topk(3).values
    )


def test_packing_twice_changes_nothing() -> None:
    """So it makes no difference whether an answer was computed just now or long ago."""
    packing = Largest(3, 20, torch.float32)
    rows = packing.pack(torch.randn(5, 20))
    again = packing.pack(packing.unpack(rows))
    torch.testing.assert_close(packing.unpack(again), packing.unpack(rows))


@pytest.mark.parametrize("packing", [Whole(5, torch.float32), Largest(2, 5, torch.float32)])
def test_a_single_row_of_a_wider_table(packing: Whole | Largest) -> None:
    logits = torch.tensor([[1.0, 5.0, 2.0, 0.0, 4.0]])
    for first in (0, 3):  # at an odd place, too
        wide = torch.zeros(1, packing.bytes + 6, dtype=torch.uint8)
        wide[:, first : first + packing.bytes] = packing.pack(logits)
        found = packing.unpack(wide[:, first : first + packing.bytes])
        torch.testing.assert_close(found[0, [1, 4]], logits[0, [1, 4]])


def test_damaged_bytes_are_no_crash() -> None:
    packing = Largest(3, 20, torch.float32)
    assert packing.unpack(torch.full((2, packing.bytes), 255, dtype=torch.uint8)).shape == (2, 20)

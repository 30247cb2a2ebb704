"""OFD: a slow loop, what is not asked, and the margin as an integral."""

import math

import pytest
import torch
from torch import Tensor

from docendo.errors import DocendoError
from docendo.losses import ofd, ofd_margin
from tests.losses.agreement import assert_agree, draw, total


def slow(student: Tensor, teacher: Tensor, margin: list[float]) -> Tensor:
    """Follow the three cases of the paper."""
    values = []
    for c, m in enumerate(margin):
        for s, t in zip(student[:, c].flatten(), teacher[:, c].flatten().tolist(), strict=True):
            if t > 0:
                values.append((s - t) ** 2)
            elif s > max(t, m):
                values.append((s - max(t, m)) ** 2)
            else:
                values.append(0 * s)
    return total(values) / len(student)


@pytest.mark.parametrize("batch", [1, 3])
def test_it_is_the_slow_loop(batch: int) -> None:
    student, teacher = draw((batch, 3, 3, 2), (batch, 3, 3, 2))
    margin = [-0.2, -0.8, -3.0]
    ours = ofd(student, teacher, torch.tensor(margin, dtype=torch.float64))
    assert_agree(ours, slow(student, teacher, margin), student)


def test_below_the_margin_nothing_is_asked() -> None:
    teacher = torch.tensor([[[[-5.0, -0.5]]]])
    student = torch.tensor([[[[-2.0, -0.6]]]], requires_grad=True)
    ofd(student, teacher, torch.tensor([-1.0])).backward()
    torch.testing.assert_close(student.grad, torch.zeros(1, 1, 1, 2))


def expectation_below_zero(mean: float, std: float) -> float:
    """Integrate x over the negative half, divided by its mass."""
    steps = 20000
    low = min(mean, 0) - 12 * std
    xs = [low * (1 - (i + 0.5) / steps) for i in range(steps)]
    weights = [math.exp(-(((x - mean) / std) ** 2) / 2) for x in xs]
    return sum(w * x for w, x in zip(weights, xs, strict=True)) / sum(weights)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (-2.0, 0.5), (1.0, 0.7), (3.0, 1.0), (0.3, -2.0)])
def test_the_margin_is_the_expectation_of_the_negative_part(mean: float, std: float) -> None:
    margin = ofd_margin(*(torch.tensor([x], dtype=torch.float64) for x in (mean, std)))
    assert margin.item() == pytest.approx(expectation_below_zero(mean, abs(std)), rel=1e-5)


def test_a_channel_that_is_hardly_ever_negative_or_does_not_vary_has_a_margin_too() -> None:
    mean, std = torch.tensor([9.0, 1.0, -1.0, 0.0]), torch.tensor([2.0, 0.0, 0.0, 0.0])
    torch.testing.assert_close(ofd_margin(mean, std), torch.tensor([-6.0, 0.0, -1.0, 0.0]))
    torch.testing.assert_close(ofd_margin(mean.half(), std.half()), torch.tensor([-6.0, 0.0, -1.0, 0.0]))


def test_a_margin_for_each_channel_or_none() -> None:
    maps = torch.zeros(2, 3, 4, 4)
    with pytest.raises(DocendoError, match=r"^ofd has margins of shape \(1,\) for maps of shape \(2, 3, 4, 4\): give"):
        ofd(maps, maps, torch.tensor([-1.0]))

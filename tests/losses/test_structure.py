"""NST, FSP and ReviewKD's context: slow loops, both forms of NST, maps of unequal sides."""

import pytest
import torch
from torch import Tensor

from docendo.losses import fsp, hierarchical_context, nst
from tests.losses.agreement import assert_agree, dot, draw, length, mean


def shrunk(features: Tensor, height: int, width: int) -> Tensor:
    """Average over the areas of a whole ratio."""
    rows, columns = features.shape[2] // height, features.shape[3] // width
    areas = [
        [features[:, :, i * rows : (i + 1) * rows, j * columns : (j + 1) * columns] for j in range(width)]
        for i in range(height)
    ]
    return torch.stack([torch.stack([a.flatten(2).sum(2) / (rows * columns) for a in row], -1) for row in areas], -2)


def slow_nst(student: Tensor, teacher: Tensor) -> Tensor:
    values = []
    for s, t in zip(student, teacher.detach(), strict=True):
        s, t = ([c / length(c) for c in maps] for maps in (s, t))
        within_s, within_t = (mean([dot(a, b) ** 2 for a in x for b in x]) for x in (s, t))
        values.append(within_s + within_t - 2 * mean([dot(a, b) ** 2 for a in s for b in t]))
    return mean(values)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(("channels", "sides"), [((2, 3), (3, 2)), ((5, 3), (2, 1)), ((3, 7), (2, 2))])
def test_nst_is_the_slow_loop_in_both_forms(batch: int, channels: tuple[int, int], sides: tuple[int, int]) -> None:
    student, teacher = draw(*((batch, c, *sides) for c in channels))
    assert_agree(nst(student, teacher), slow_nst(student, teacher), student)


def test_nst_averages_the_larger_side() -> None:
    student, teacher = draw((2, 3, 4, 4), (2, 5, 2, 4))
    assert_agree(nst(student, teacher), slow_nst(shrunk(student, 2, 4), teacher), student)
    assert_agree(nst(teacher, student), slow_nst(teacher, shrunk(student, 2, 4)), teacher)


@pytest.mark.parametrize("sides", [(2, 2), (4, 4)])
def test_nst_minds_neither_order_nor_scale_of_channels(sides: tuple[int, int]) -> None:
    student, teacher = draw((2, 6, *sides), (2, 4, *sides))
    torch.testing.assert_close(nst(student.flip(1) * torch.rand(2, 6, 1, 1).double(), teacher), nst(student, teacher))
    assert nst(student.flip(1) * 7, student).item() == pytest.approx(0, abs=1e-14)


@pytest.mark.parametrize("sides", [(1, 2), (4, 4)])
def test_silent_channels_have_no_direction_and_a_finite_gradient(sides: tuple[int, int]) -> None:
    teacher = torch.rand(2, 3, *sides, generator=torch.Generator().manual_seed(0))
    student = torch.cat([teacher[:, :2], torch.zeros(2, 1, *sides)], dim=1).requires_grad_()
    loss = nst(student, teacher)
    loss.backward()
    assert loss.item() > 0
    assert student.grad is not None
    assert student.grad.abs().max() < 1e3


def slow_flow(first: Tensor, last: Tensor) -> list[Tensor]:
    places = first.shape[2] * first.shape[3]
    images = zip(first, last, strict=True)
    return [dot(c, d) / places for image, other in images for c in image for d in other]


def slow_fsp(student: list[Tensor], teacher: list[Tensor]) -> Tensor:
    flows = zip(slow_flow(*student), slow_flow(*teacher), strict=True)
    return mean([(a - b) ** 2 for a, b in flows])


@pytest.mark.parametrize("batch", [1, 3])
def test_fsp_is_the_slow_loop(batch: int) -> None:
    *student, third, last = draw((batch, 2, 3, 2), (batch, 4, 3, 2), (batch, 2, 2, 2), (batch, 4, 2, 2))
    slow = slow_fsp(student, [third.detach(), last.detach()])
    assert_agree(fsp(*student, third, last), slow, *student)


def test_fsp_averages_the_larger_of_two_layers() -> None:
    first, last, third, fourth = draw((2, 2, 4, 4), (2, 3, 2, 2), (2, 2, 2, 2), (2, 3, 4, 2))
    slow = slow_fsp([shrunk(first, 2, 2), last], [third.detach(), shrunk(fourth.detach(), 2, 2)])
    assert_agree(fsp(first, last, third, fourth), slow, first, last)


def slow_context(student: Tensor, teacher: Tensor, levels: tuple[int, ...]) -> Tensor:
    sizes = [(student, teacher), *((shrunk(student, n, n), shrunk(teacher, n, n)) for n in levels)]
    weights = [2.0**-k for k in range(len(sizes))]
    values = [mean([(a - b) ** 2 for a, b in zip(s.flatten(), t.flatten(), strict=True)]) for s, t in sizes]
    return sum((w * v for w, v in zip(weights, values, strict=True)), student.new_zeros(())) / sum(weights)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize(("side", "levels"), [(8, (4, 2, 1)), (4, (2, 1)), (2, (1,)), (1, ())])
def test_context_is_the_slow_loop_over_the_levels_that_are_smaller(
    batch: int, side: int, levels: tuple[int, ...]
) -> None:
    student, teacher = draw((batch, 2, side, side), (batch, 2, side, side))
    slow = slow_context(student, teacher.detach(), levels)
    assert_agree(hierarchical_context(student, teacher), slow, student)


def test_context_takes_other_levels_and_sides_of_no_whole_ratio() -> None:
    student, teacher = draw((2, 2, 6, 6), (2, 2, 6, 6))
    slow = slow_context(student, teacher.detach(), (3, 2))
    assert_agree(hierarchical_context(student, teacher, (3, 2)), slow, student)
    flat = torch.ones(1, 1, 7, 5)
    assert hierarchical_context(3 * flat, flat).item() == pytest.approx(4)  # averages of a constant are the constant

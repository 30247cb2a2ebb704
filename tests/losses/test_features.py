"""Formulas of the losses on features: slow loops, closed forms, gradients, extremes."""

import math

import pytest
import torch
from torch import Tensor

from docendo.errors import DocendoError
from docendo.losses import attention_map, attention_transfer, hint, simkd, vid
from tests.losses.agreement import assert_agree, draw, mean

Pair = tuple[Tensor, Tensor]


def slow_map(features: Tensor) -> list[list[float]]:
    maps = []
    for image in features.tolist():
        height, width = len(image[0]), len(image[0][0])
        squares = [sum(c[i][j] ** 2 for c in image) / len(image) for i in range(height) for j in range(width)]
        norm = max(math.sqrt(sum(a * a for a in squares)), 1e-12)
        maps.append([a / norm for a in squares])
    return maps


def slow_transfer(student: Tensor, teacher: Tensor) -> float:
    images = zip(slow_map(student), slow_map(teacher), strict=True)
    squares = [(a - b) ** 2 for s, t in images for a, b in zip(s, t, strict=True)]
    return sum(squares) / len(squares)


def slow_average(features: Tensor, height: int, width: int) -> Tensor:
    """Each place is the mean over the area that it stands for."""
    rows, columns = features.shape[2:]
    small = torch.zeros(*features.shape[:2], height, width, dtype=features.dtype)
    for i in range(height):
        for j in range(width):
            top, bottom = i * rows // height, -(-(i + 1) * rows // height)
            left, right = j * columns // width, -(-(j + 1) * columns // width)
            small[:, :, i, j] = features[:, :, top:bottom, left:right].mean(dim=(2, 3))
    return small


@pytest.fixture(params=[1, 3])
def features(request: pytest.FixtureRequest) -> Pair:
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(request.param, c, 4, 5, generator=generator, dtype=torch.float64) for c in (3, 6))
    return student.requires_grad_(), teacher.requires_grad_()


def test_attention_is_the_slow_loop(features: Pair) -> None:
    torch.testing.assert_close(attention_map(features[0]), torch.tensor(slow_map(features[0]), dtype=torch.float64))
    assert attention_transfer(*features).item() == pytest.approx(slow_transfer(*features), rel=1e-12)


def test_attention_is_two_minus_twice_the_cosine_over_the_places(features: Pair) -> None:
    maps = [x.square().mean(1).flatten(1) for x in features]
    cosine = torch.nn.functional.cosine_similarity(*maps, dim=1)
    torch.testing.assert_close(attention_transfer(*features), ((2 - 2 * cosine) / 20).mean())


def test_attention_gradients(features: Pair) -> None:
    student, teacher = features
    attention_transfer(student, teacher).backward()
    assert teacher.grad is None
    # d/da of the mean square of a / ||a|| - t, projected on what changes the direction; then da/dF = 2 F / C.
    squares = student.detach().square().mean(1).flatten(1)
    norm = squares.norm(dim=1, keepdim=True)
    ours, theirs = squares / norm, attention_map(teacher.detach())
    gap = 2 * (ours - theirs) / ours.numel()
    by_map = (gap - ours * (gap * ours).sum(1, keepdim=True)) / norm
    expected = by_map.reshape(len(student), 1, 4, 5) * 2 * student.detach() / student.shape[1]
    torch.testing.assert_close(student.grad, expected)


def test_attention_of_itself_is_zero_and_scale_plays_no_part(features: Pair) -> None:
    student, teacher = features
    assert attention_transfer(student, student).item() == 0
    for scale in (-3.0, 1e-3, 1e4):
        torch.testing.assert_close(attention_transfer(scale * student, teacher), attention_transfer(student, teacher))


def test_attention_bounds() -> None:
    # Two maps with nothing in common: 1000 * AT is 1.95, 7.8 and 31.25 at 32, 16 and 8 pixels.
    for side, most in ((32, 1.953125), (16, 7.8125), (8, 31.25)):
        here, there = torch.zeros(1, 1, side, side), torch.zeros(1, 1, side, side)
        here[..., 0, 0], there[..., 1, 1] = 1, 1
        assert 1000 * attention_transfer(here, there).item() == pytest.approx(most)


@pytest.mark.parametrize(
    ("student", "teacher"), [((8, 6), (4, 3)), ((4, 3), (8, 6)), ((7, 5), (4, 5)), ((4, 6), (6, 4))]
)
def test_attention_averages_the_larger_features(student: tuple[int, int], teacher: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(1)
    s = torch.randn(2, 3, *student, generator=generator, dtype=torch.float64, requires_grad=True)
    t = torch.randn(2, 5, *teacher, generator=generator, dtype=torch.float64)
    height, width = min(student[0], teacher[0]), min(student[1], teacher[1])
    loss = attention_transfer(s, t)
    assert loss.item() == pytest.approx(
        slow_transfer(slow_average(s.detach(), height, width), slow_average(t, height, width)), rel=1e-12
    )
    loss.backward()
    assert s.grad is not None
    assert (s.grad != 0).all()


def test_features_that_say_nothing_look_nowhere() -> None:
    silent = torch.zeros(2, 3, 4, 4, requires_grad=True)
    loss = attention_transfer(silent, torch.ones(2, 3, 4, 4))
    loss.backward()
    assert loss.item() == pytest.approx(1 / 16)
    assert silent.grad is not None
    assert silent.grad.isfinite().all()


def test_hint_is_the_slow_loop(features: Pair) -> None:
    student = features[0]
    teacher = torch.cat([student.detach() + 1, student.detach() - 1])[: len(student)].requires_grad_()
    loss = hint(student, teacher)
    values = zip(student.flatten().tolist(), teacher.flatten().tolist(), strict=True)
    assert loss.item() == pytest.approx(sum((a - b) ** 2 for a, b in values) / student.numel(), rel=1e-12)
    loss.backward()
    assert teacher.grad is None
    torch.testing.assert_close(student.grad, (2 * (student - teacher) / student.numel()).detach())
    assert hint(student, student).item() == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_losses_survive_large_features_in_any_precision(dtype: torch.dtype) -> None:
    student = torch.tensor([[[[1e4, 0.0], [0.0, -1e4]]]], dtype=dtype, requires_grad=True)
    teacher = torch.tensor([[[[0.0, -1e4], [0.0, -1e4]]]], dtype=dtype)
    # Squares (1, 0, 0, 1) against (0, 1, 0, 1), normalised: two of four places differ by 1 / sqrt(2).
    assert attention_transfer(student, teacher).item() == pytest.approx(0.25, rel=1e-5)
    assert hint(student, teacher).item() == pytest.approx(5e7, rel=1e-2)
    (attention_transfer(student, teacher) + hint(student, teacher)).backward()
    assert student.grad is not None
    assert student.grad.isfinite().all()


def test_simkd_is_the_mean_square() -> None:
    student, teacher = draw((2, 3, 2, 2), (2, 3, 2, 2))
    gaps = zip(student.flatten(), teacher.detach().flatten(), strict=True)
    assert_agree(simkd(student, teacher), mean([(a - b) ** 2 for a, b in gaps]), student)


@pytest.mark.parametrize("shape", [(1, 3, 2, 2), (4, 3, 2, 1), (4, 3)])
def test_vid_is_the_slow_loop(shape: tuple[int, ...]) -> None:
    student, teacher, scale = draw(shape, shape, (3,))
    values = []
    for c in range(3):
        variance = (1 + scale[c].exp()).log() + 1e-5
        for m, t in zip(student[:, c].flatten(), teacher.detach()[:, c].flatten(), strict=True):
            values.append(((m - t) ** 2 / variance + variance.log()) / 2)
    assert_agree(vid(student, teacher, scale), mean(values), student, scale)


def test_vid_is_least_where_the_variance_is_the_mean_square() -> None:
    student, teacher = draw((50, 2, 3, 3), (50, 2, 3, 3))
    variance = (student - teacher).square().mean(dim=(0, 2, 3)).detach()
    scale = (variance - 1e-5).expm1().log().requires_grad_()
    vid(student, teacher, scale).backward()
    torch.testing.assert_close(scale.grad, torch.zeros(2, dtype=torch.float64))


def test_vid_stays_finite_however_sure_it_is() -> None:
    for sure in (-1e4, 1e4):
        scale = torch.tensor([sure], requires_grad=True)
        loss = vid(torch.ones(2, 1, 1, 1), torch.zeros(2, 1, 1, 1), scale)
        loss.backward()
        assert loss.isfinite()
        assert scale.grad is not None
        assert scale.grad.isfinite().all()
    assert vid(torch.ones(2, 1), torch.ones(2, 1), torch.tensor([-1e4])).item() == pytest.approx(math.log(1e-5) / 2)


def test_vid_has_a_scale_for_each_channel() -> None:
    with pytest.raises(
        DocendoError, match=r"^vid has \(1,\) scales for maps of shape \(2, 3, 4, 4\): give one a channel$"
    ):
        vid(torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4), torch.zeros(1))

"""SSKD: slow loops, which samples are kept, and a teacher that is right or wrong."""

import pytest
import torch
from torch import Tensor

from docendo.errors import DocendoError
from docendo.losses import sskd_contrast, sskd_selected, sskd_similarity
from tests.losses.agreement import assert_agree, divergence, dot, draw, length, mean, softmax


def resemblance(normal: Tensor, rotated: Tensor) -> list[Tensor]:
    """One row a turned image: its cosine with each upright one."""
    return [torch.stack([dot(r, n) / (length(r) * length(n)) for n in normal]) for image in rotated for r in image]


def slow_selected(scores: list[list[float]], targets: list[int], keep_wrong: float) -> list[bool]:
    levels = [sum(x > row[y] for x in row) for row, y in zip(scores, targets, strict=True)]
    wrong = sorted((level, i) for i, level in enumerate(levels) if level > 0)
    kept = {i for _, i in wrong[: int(len(wrong) * keep_wrong)]}
    return [level == 0 or i in kept for i, level in enumerate(levels)]


def slow_similarity(sides: list[Tensor], temperature: float, keep_wrong: float) -> Tensor:
    student = resemblance(*sides[:2])
    teacher = resemblance(*(x.detach() for x in sides[2:]))
    transforms = sides[1].shape[1]
    kept = slow_selected([row.tolist() for row in teacher], [r // transforms for r in range(len(teacher))], keep_wrong)
    values = [
        divergence(softmax(q, temperature), softmax(p, temperature))
        for p, q, keep in zip(student, teacher, kept, strict=True)
        if keep
    ]
    return temperature**2 * mean(values)


@pytest.mark.parametrize(("images", "transforms"), [(2, 1), (4, 3), (3, 2)])
@pytest.mark.parametrize(("temperature", "keep_wrong"), [(0.5, 0.75), (1.0, 1.0), (0.5, 0.5)])
def test_similarity_is_the_slow_loop(images: int, transforms: int, temperature: float, keep_wrong: float) -> None:
    sides = draw((images, 3), (images, transforms, 3), (images, 4), (images, transforms, 4), seed=3)
    ours = sskd_similarity(*sides, temperature, keep_wrong)
    assert_agree(ours, slow_similarity(sides, temperature, keep_wrong), *sides[:2])


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_contrast_is_the_slow_loop(temperature: float) -> None:
    normal, rotated = draw((4, 5), (4, 3, 5))
    rows = resemblance(normal, rotated)
    slow = mean([-softmax(row, temperature)[r // 3].log() for r, row in enumerate(rows)])
    assert_agree(sskd_contrast(normal, rotated, temperature), slow, normal, rotated)


@pytest.mark.parametrize("keep_wrong", [0.0, 0.3, 0.75, 1.0])
@pytest.mark.parametrize("samples", [1, 20])
def test_selection_is_the_slow_loop(samples: int, keep_wrong: float) -> None:
    (scores,) = draw((samples, 5))
    targets = torch.arange(samples) % 5
    kept = sskd_selected(scores, targets, keep_wrong)
    assert kept.tolist() == slow_selected(scores.tolist(), targets.tolist(), keep_wrong)
    if samples == 20:
        right = int((scores.argmax(1) == targets).sum())
        assert 0 < right < 20
        assert int(kept.sum()) == right + int((20 - right) * keep_wrong)


def test_one_image_or_none_kept_costs_nothing() -> None:
    sides = draw((1, 3), (1, 3, 3), (1, 4), (1, 3, 4))
    assert sskd_similarity(*sides).item() == 0
    normal = torch.eye(2).requires_grad_()
    loss = sskd_similarity(normal, normal[:, None], normal.detach(), normal.detach()[:, None].flip(0), keep_wrong=0.0)
    loss.backward()  # the teacher takes each image for the other
    assert loss.item() == 0
    torch.testing.assert_close(normal.grad, torch.zeros(2, 2))


@pytest.mark.parametrize("wrong", [0, 1, 2, 3])
def test_the_numbers_of_images_and_of_transforms_must_agree(wrong: int) -> None:
    shapes = [(4, 3), (4, 2, 3), (4, 5), (4, 2, 5)]
    shapes[wrong] = (6, *shapes[wrong][1:])
    with pytest.raises(DocendoError, match=r"^sskd_similarity compares a student's .* same images$"):
        sskd_similarity(*(torch.zeros(shape) for shape in shapes))
    with pytest.raises(DocendoError, match=r"^sskd_similarity compares a student's \(4, 2, 3\) with .* \(4, 1, 5\)"):
        sskd_similarity(torch.zeros(4, 3), torch.zeros(4, 2, 3), torch.zeros(4, 5), torch.zeros(4, 1, 5))
    with pytest.raises(DocendoError, match=r"^sskd_contrast has 4 upright images and transforms of 5: both need"):
        sskd_contrast(torch.zeros(4, 3), torch.zeros(5, 2, 3))

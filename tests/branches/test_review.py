"""ReviewKD's levels: their shapes for networks of any kind, and what they compute, place by place."""

import pytest
import torch
from torch import Tensor

from docendo.branches import Review, StagePairs
from docendo.networks import StagedNetwork, create
from tests.tiny import NETWORKS


def networks(kind: str) -> tuple[StagedNetwork, StagedNetwork]:
    torch.manual_seed(0)
    teacher, student = (create(NETWORKS[kind][r], classes=10, channels=1, image_size=8) for r in ("teacher", "student"))
    return teacher, student


def features_of(student: StagedNetwork, pairs: StagePairs, images: Tensor) -> dict[str, Tensor]:
    said = student(images)
    maps = {name: student.maps(said.stages)[s] for name, (_, s) in zip(pairs.names, pairs.pairs, strict=True)}
    return {**maps, "pooled": said.pooled.reshape(*said.pooled.shape, 1, 1)}


@pytest.mark.parametrize(
    ("kind", "chosen"), [("native", ""), ("cut", "1:2,3:3"), ("tokens", ""), ("native with cut", "2:1")]
)
def test_every_level_has_the_teachers_shape(kind: str, chosen: str) -> None:
    teacher, student = networks(kind)
    pairs = StagePairs.of(chosen, teacher, student)
    said = Review(pairs, teacher, student)(features_of(student, pairs, torch.randn(2, 1, 8, 8)))
    assert list(said) == ["pooled", *reversed(pairs.names)]
    for name, (t, _) in zip(pairs.names, pairs.pairs, strict=True):
        assert said[name].shape == (2, *teacher.shapes[t])
    assert said["pooled"].shape == (2, 24, 1, 1)


def test_widths_are_the_students_last_but_at_most_512() -> None:
    teacher, student = networks("native")
    assert Review(StagePairs.of("", teacher, student), teacher, student)["2:2"].enter[0].out_channels == 16
    wide = create("ResNet18w16", classes=10), create("vgg8", classes=10)
    assert Review(StagePairs.of("", *wide), *wide)["3:3"].shares[0].in_channels == 1024


def test_a_level_mixes_its_stage_with_all_below_it() -> None:
    """Once more, in evaluation, where fresh BatchNorm divides by almost 1; 2:1 is told at half the sides."""
    teacher, student = networks("native")
    pairs = StagePairs.of("2:1", teacher, student)
    review = Review(pairs, teacher, student).eval()
    features = {"2:1": torch.randn(1, 8, 8, 8), "pooled": torch.randn(1, 16, 1, 1)}
    told = review(features)
    scale = (1 + 1e-5) ** -0.5
    top, level = review["pooled"], review["2:1"]
    below = scale * top.enter[0].weight.flatten(1) @ features["pooled"].flatten()
    kernel = top.leave[0].weight[:, :, 1, 1]  # the others see nothing but the border
    torch.testing.assert_close(told["pooled"].flatten(), scale * kernel @ below)

    mixed = torch.empty(1, 16, 8, 8)
    for y in range(8):
        for x in range(8):
            own = scale * level.enter[0].weight.flatten(1) @ features["2:1"][0, :, y, x]
            z = level.shares[0].weight.flatten(1) @ torch.cat([own, below]) + level.shares[0].bias
            mixed[0, :, y, x] = z[0].sigmoid() * own + z[1].sigmoid() * below
    nearest = mixed[:, :, ::2, ::2]  # to the teacher's four places a side
    expected = scale * torch.nn.functional.conv2d(nearest, level.leave[0].weight, padding=1)
    torch.testing.assert_close(told["2:1"], expected, rtol=1e-4, atol=1e-5)


def test_its_first_weights_have_the_variance_of_one_over_the_fan_in() -> None:
    teacher, student = networks("native")
    weight = Review(StagePairs.of("", teacher, student), teacher, student)["3:3"].leave[0].weight
    bound = (3 / (16 * 9)) ** 0.5
    assert 0.95 * bound < weight.abs().max() <= bound

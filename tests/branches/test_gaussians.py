"""What VID's Gaussians are: shapes, first variance, and means by a slow loop."""

import pytest
import torch

from docendo.branches import Gaussians, StagePairs
from docendo.networks import create, parameters
from tests.tiny import NETWORKS


@pytest.fixture
def gaussians() -> Gaussians:
    torch.manual_seed(0)
    teacher, student = create("tiny_wide", classes=10, channels=1), create("tiny", classes=10, channels=1)
    return Gaussians(StagePairs.of("1:2,3:3", teacher, student), teacher, student)


def test_each_pair_has_its_own_of_the_teachers_width(gaussians: Gaussians) -> None:
    assert list(gaussians) == ["1:2", "3:3"]
    mean, log_scale = gaussians("1:2", torch.randn(2, 12, 5, 4))
    assert (mean.shape, log_scale.shape) == ((2, 8, 5, 4), (8,))
    assert parameters(gaussians) == (12 * 8 + 2 * 8 * 8 + 8) + (16 * 24 + 2 * 24 * 24 + 24)


def test_the_first_variance_is_five(gaussians: Gaussians) -> None:
    _, log_scale = gaussians("3:3", torch.randn(1, 16, 1, 1))
    torch.testing.assert_close((1 + log_scale.exp()).log() + 1e-5, torch.full((24,), 5.0))


def test_means_see_one_place_each(gaussians: Gaussians) -> None:
    features = torch.randn(2, 12, 2, 3)
    mean, _ = gaussians("1:2", features)
    first, second, third = (weight.flatten(1) for weight in gaussians["1:2"].mean.parameters())
    for b in range(2):
        for y in range(2):
            for x in range(3):
                expected = third @ (second @ (first @ features[b, :, y, x]).relu()).relu()
                torch.testing.assert_close(mean[b, :, y, x], expected)


def test_tokens_are_told_too() -> None:
    names = NETWORKS["tokens"]
    teacher, student = (create(names[role], classes=10, channels=1, image_size=8) for role in ("teacher", "student"))
    gaussians = Gaussians(StagePairs.of("", teacher, student), teacher, student)
    for name, width in zip(gaussians, teacher.widths, strict=True):
        assert gaussians(name, torch.randn(1, 8, 4, 4))[0].shape == (1, width, 4, 4)

"""OFD's connectors, and the Gaussians that it sees behind a ReLU."""

import pytest
import torch

from docendo.branches import Connectors, StagePairs, before_relu, openness
from docendo.losses import ofd_margin
from docendo.networks import create
from tests.tiny import NETWORKS


def test_connectors_are_a_linear_map_then_normalised() -> None:
    torch.manual_seed(0)
    teacher, student = (create(NETWORKS["native"][r], classes=10, channels=1) for r in ("teacher", "student"))
    connectors = Connectors(StagePairs.of("2:1,3:3", teacher, student), teacher, student)
    features = torch.randn(4, 8, 3, 3)
    mapped = torch.einsum("dc,bchw->bdhw", connectors["2:1"][0].weight.flatten(1), features)
    over = (0, 2, 3)
    expected = (mapped - mapped.mean(over, keepdim=True)) / mapped.std(over, correction=0, keepdim=True)
    torch.testing.assert_close(connectors("2:1", features), expected, rtol=1e-4, atol=1e-4)
    assert list(connectors) == ["2:1", "3:3"]
    assert connectors["3:3"][0].weight.std().item() == pytest.approx((2 / 24) ** 0.5, rel=0.15)


def test_openness_is_a_share_and_a_mean() -> None:
    maps = torch.tensor([[[[-1.0, 0.0], [2.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]]]])
    assert torch.equal(openness(maps), torch.tensor([[[0.5, 1.5], [0.0, 0.0]]]))
    assert openness(maps.bfloat16()).dtype == torch.float32


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (-1.5, 2.0), (3.0, 2.0), (-0.2, 0.1)])
def test_a_gaussian_is_found_behind_the_relu(mean: float, std: float) -> None:
    torch.manual_seed(0)
    gaussian = mean + std * torch.randn(50, 1, 100, 100, dtype=torch.float64)
    found_mean, found_std = before_relu(openness(gaussian.relu()))
    assert found_mean.item() == pytest.approx(mean, abs=0.02 * std)
    assert found_std.item() == pytest.approx(std, rel=0.02)
    margin = ofd_margin(found_mean, found_std)
    assert margin.item() == pytest.approx(gaussian[gaussian < 0].mean().item(), abs=0.02 * std)


def test_channels_that_are_always_open_or_closed_have_a_finite_margin() -> None:
    maps = torch.stack([torch.zeros(2, 3, 3), torch.ones(2, 3, 3), torch.full((2, 3, 3), 1e4)], dim=1)
    mean, std = before_relu(openness(maps))
    assert mean[0] == std[0] == 0
    margin = ofd_margin(mean, std)
    assert margin[0] == 0
    torch.testing.assert_close(margin[1:], -3 * std[1:])
    assert (std[1:] > 0).all()

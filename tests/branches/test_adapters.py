"""Adapters reach any stage's shape, or say why not."""

import pytest
import torch

from docendo.branches import adapter
from docendo.errors import DocendoError
from docendo.networks import parameters

Shape = tuple[int, int, int]


@pytest.mark.parametrize(
    ("source", "target", "count"),
    [
        ((4, 16, 16), (8, 16, 16), 4 * 8 + 8),
        ((4, 32, 32), (8, 16, 16), 4 * 8 * 9 + 8),
        ((4, 8, 8), (8, 16, 16), 4 * 8 * 16 + 8),
        ((4, 8, 4), (8, 16, 8), 4 * 8 * 16 + 8),
    ],
)
def test_convolutions_reach_the_shape(source: Shape, target: Shape, count: int) -> None:
    layers = adapter(source, target)
    assert layers(torch.randn(2, *source)).shape[1:] == target
    assert parameters(layers) == count


@pytest.mark.parametrize("target", [(8, 16, 16), (8, 7, 5), (8, 12, 4), (8, 1, 1)])
def test_pooling_reaches_any_shape(target: Shape) -> None:
    layers = adapter((4, 9, 9), target, sides="pooling")
    assert layers(torch.randn(2, 4, 9, 9)).shape[1:] == target
    assert parameters(layers) == 4 * 8 + 8


def test_pooling_is_the_mean_then_a_linear_map() -> None:
    torch.manual_seed(0)
    layers = adapter((3, 4, 4), (2, 1, 1), sides="pooling")
    images = torch.randn(2, 3, 4, 4)
    expected = images.mean(dim=(2, 3)) @ layers[1].weight.flatten(1).T + layers[1].bias
    torch.testing.assert_close(layers(images).flatten(1), expected)


@pytest.mark.parametrize("target", [(8, 20, 20), (8, 16, 32)])
def test_other_ratios_are_refused_with_a_way_out(target: Shape) -> None:
    with pytest.raises(DocendoError, match=r"from 32x32 maps to .* one integer ratio; add --set sides=pooling"):
        adapter((4, 32, 32), target)

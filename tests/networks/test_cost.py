"""Counting leaves the network as it was, and counts what a hand count gives."""

import copy

import pytest
import torch
from torch import nn

from docendo.errors import DocendoError
from docendo.networks import create, macs, parameters


def test_a_hand_count() -> None:
    layers = nn.Sequential(nn.Conv2d(2, 5, 3, padding=1), nn.Flatten(), nn.Linear(5 * 16, 7))
    assert parameters(layers) == (2 * 9 * 5 + 5) + (80 * 7 + 7)
    assert macs(layers, (2, 4, 4)) == 16 * 2 * 9 * 5 + 80 * 7


def test_the_size_and_colours_of_the_spec_count() -> None:
    small = create("resnet8", classes=10, channels=1, image_size=8)
    assert macs(small) == macs(small, (1, 8, 8))
    assert macs(small, (1, 16, 16)) > 3 * macs(small)


def test_counting_changes_nothing() -> None:
    network = create("resnet8", classes=10)
    network.layer2.eval()
    before = copy.deepcopy(network.state_dict())
    assert macs(network) > 0
    assert network.training
    assert network.bn1.training
    assert not network.layer2.training
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key]), key
    assert all(p.grad is None for p in network.parameters())


def test_a_module_without_a_spec_needs_the_shape() -> None:
    with pytest.raises(DocendoError) as error:
        macs(nn.Linear(2, 2))
    assert str(error.value) == "macs of a Linear need the shape (C, H, W) of an image: give shape="

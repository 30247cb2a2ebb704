"""BYOT's shallow classifiers: layers and parameter counts as in the released bottlenecks."""

from typing import Any

import pytest
import torch
from torch import nn

from docendo.branches import ShallowClassifiers
from docendo.errors import DocendoError
from docendo.networks import create, parameters
from tests.branches.test_pyramid import SHAPES, of_shapes


def test_counts_for_resnet18() -> None:
    with torch.device("meta"):
        classifiers: Any = ShallowClassifiers(of_shapes(*SHAPES))
    for stage, channels, kernel in (("stage1", 64, 8), ("stage2", 128, 4), ("stage3", 256, 2)):
        first = channels * 128 + 128 + 2 * 128
        second = 128 * 128 * kernel**2 + 128 + 2 * 128
        third = 128 * 512 + 512 + 2 * 512
        assert parameters(classifiers[stage].before) == first + second + third
        assert parameters(classifiers[stage].classifier) == 512 * 100 + 100
    assert parameters(classifiers) == 1_791_020


def test_layers_in_order() -> None:
    classifiers: Any = ShallowClassifiers(of_shapes(*SHAPES, classes=3))
    assert list(classifiers) == ["stage1", "stage2", "stage3"]
    layers = list(classifiers["stage2"].before)
    assert [type(layer) for layer in layers] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU] * 3
    assert [layers[i].kernel_size for i in (0, 3, 6)] == [(1, 1), (4, 4), (1, 1)]
    assert layers[3].stride == (4, 4)
    deviation = (2 / (16 * 128)) ** 0.5
    assert layers[3].weight.std().item() == pytest.approx(deviation, rel=0.01)


def test_each_reads_its_stage_attached() -> None:
    network = create("ResNet18w16", classes=10, image_size=16)
    output = network(torch.randn(4, 3, 16, 16))
    heads = ShallowClassifiers(network)(output.stages)
    assert torch.equal(heads.deepest, output.pooled)
    assert {name: head.pooled.shape for name, head in heads.outputs.items()} == {
        f"stage{i}": (4, 128) for i in (1, 2, 3)
    }
    heads.outputs["stage2"].logits.square().sum().backward()
    assert network.layer1[0].conv1.weight.grad.any()
    assert network.layer2[1].conv2.weight.grad.any()
    assert network.layer3[0].conv1.weight.grad is None


def test_one_stage_is_refused() -> None:
    with pytest.raises(DocendoError, match="all stages but the last, and this network has one stage"):
        ShallowClassifiers(of_shapes((8, 4, 4)))

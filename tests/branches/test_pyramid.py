"""TESKD's pyramid: layers, shapes and parameter counts as its specification and released code give them."""

import copy
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from docendo.branches import Pyramid
from docendo.branches.heads import head_weights, kernels
from docendo.errors import DocendoError
from docendo.networks import NetworkSpec, create, parameters
from docendo.networks.staged import Layout
from tests import tiny

SHAPES = ((64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4))


def of_shapes(*shapes: tuple[int, int, int], classes: int = 100) -> Any:
    """Stand in for a network whose stages have these shapes."""
    return SimpleNamespace(shapes=shapes, layouts=(Layout(),) * len(shapes), spec=NetworkSpec("none", classes))


@pytest.mark.parametrize(
    ("name", "size", "classes", "network", "together"),
    [
        ("ResNet18", 32, 100, 11_220_132, 37_050_832),
        ("ResNet34", 32, 100, 21_328_292, 47_158_992),
        ("SEResNet18", 32, 100, 11_314_012, 37_144_712),
        ("ResNeXt18", 32, 100, 22_209_444, 48_040_144),
        ("torchvision/resnet18", 224, 1000, 11_689_512, 38_905_312),
    ],
)
def test_counts_are_those_of_the_released_networks(
    name: str, size: int, classes: int, network: int, together: int
) -> None:
    if "/" in name:
        backbone = create(name, classes=classes, image_size=size)
    else:
        with torch.device("meta"):
            backbone = create(name, classes=classes, image_size=size)
    with torch.device("meta"):
        pyramid = Pyramid(backbone)
    assert parameters(backbone) == network
    assert parameters(backbone) + parameters(pyramid) == together


def test_count_of_each_part() -> None:
    with torch.device("meta"):
        pyramid: Any = Pyramid(of_shapes(*SHAPES))
    levels = [pyramid[f"level{i}"] for i in (1, 2, 3, 4)]
    assert sum(parameters(level.lateral) for level in levels) == 495_616
    assert sum(parameters(level.up) for level in levels[:3]) == 789_504
    assert [parameters(level.mix) for level in levels[:3]] == [525_312] * 3
    heads = [pyramid[f"stage{i}"] for i in (1, 2, 3)]
    assert [parameters(head.before) for head in heads] == [17_042_432, 4_459_520, 1_313_792]
    assert [parameters(head.classifier) for head in heads] == [51_300] * 3
    assert parameters(pyramid) == 25_830_700
    assert list(pyramid) == ["level1", "level2", "level3", "level4", "stage1", "stage2", "stage3"]


def test_students_of_the_released_vgg() -> None:
    """Their network is another than docendo's vgg16 (other stages, a head of three layers), their students agree."""
    with torch.device("meta"):
        pyramid = Pyramid(of_shapes((128, 8, 8), (256, 4, 4), (512, 2, 2), (512, 1, 1)))
    ours = create("vgg16", classes=100)
    two_more_layers = 2 * (512 * 512 + 512)
    assert parameters(ours) + two_more_layers + parameters(pyramid) == 24_844_752


def test_shapes_and_cost_of_a_training_forward() -> None:
    seen: dict[str, tuple[int, ...]] = {}

    def note(name: str) -> Any:
        return lambda module, inputs, output: seen.__setitem__(name, tuple(output.shape))

    with torch.device("meta"):
        pyramid: Any = Pyramid(of_shapes(*SHAPES))
        for i in (1, 2, 3, 4):
            pyramid[f"level{i}"].register_forward_hook(note(f"level{i}"))
        for i in (1, 2, 3):
            pyramid[f"stage{i}"].before.register_forward_hook(note(f"stage{i}"))
        stages = [torch.empty(2, *shape) for shape in SHAPES]
        with FlopCounterMode(display=False) as counter:
            heads = pyramid(stages)
    assert seen == {
        **{f"level{i}": (2, 512, side, side) for i, side in enumerate((32, 16, 8, 4), start=1)},
        **{f"stage{i}": (2, 512, 4, 4) for i in (1, 2, 3)},
    }
    assert list(heads.outputs) == ["stage1", "stage2", "stage3"]
    assert all(head.logits.shape == (2, 100) for head in heads.outputs.values())
    assert all(head.pooled.shape == heads.deepest.shape == (2, 512) for head in heads.outputs.values())
    assert round(counter.get_total_flops() / 2 / 2 / 1e9, 2) == 1.48


def test_layers_in_order() -> None:
    pyramid: Any = Pyramid(of_shapes(*SHAPES, classes=3))
    mixing = [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]
    for block in (pyramid["level4"].lateral, pyramid["level1"].up, pyramid["level1"].mix):
        assert [type(layer) for layer in block] == mixing
        assert block[0].bias is None
    for kernel, stage in zip((8, 4, 2), ("stage1", "stage2", "stage3"), strict=True):
        shrink = pyramid[stage].before
        assert [type(layer) for layer in shrink] == mixing * 2
        first = shrink[0]
        assert (first.kernel_size, first.stride, first.padding) == ((kernel, kernel), (kernel, kernel), (0, 0))
        assert first.bias is not None
        assert shrink[3].bias is not None
    assert not hasattr(pyramid["level4"], "up")
    assert not hasattr(pyramid["level4"], "mix")


def test_a_level_is_the_formula() -> None:
    torch.manual_seed(0)
    pyramid: Any = Pyramid(of_shapes((3, 4, 4), (5, 2, 2), classes=3))
    first, second = torch.randn(2, 3, 4, 4), torch.randn(2, 5, 2, 2)
    heads = copy.deepcopy(pyramid)((first, second))
    above = pyramid["level2"].lateral(second)
    level, lateral = pyramid["level1"], pyramid["level1"].lateral(first)
    doubled = torch.empty(2, 5, 4, 4)
    for y in range(4):  # bilinear, corners aligned: place y of 4 stands at y / 3 between the two places there are
        for x in range(4):
            b, a = y / 3, x / 3
            top = (1 - a) * above[:, :, 0, 0] + a * above[:, :, 0, 1]
            bottom = (1 - a) * above[:, :, 1, 0] + a * above[:, :, 1, 1]
            doubled[:, :, y, x] = (1 - b) * top + b * bottom
    up = level.up(doubled)
    mixed = level.mix(torch.cat([up + lateral, up], dim=1))
    pooled = pyramid["stage1"].before(mixed).mean(dim=(2, 3))
    torch.testing.assert_close(heads.outputs["stage1"].pooled, pooled)
    torch.testing.assert_close(heads.outputs["stage1"].logits, pyramid["stage1"].classifier(pooled))
    torch.testing.assert_close(heads.deepest, second.mean(dim=(2, 3)))


def test_giant_layers_are_warned_of() -> None:
    with torch.device("meta"):
        small, giant = Pyramid(of_shapes(*SHAPES)), Pyramid(create("ResNet50", classes=100))
    assert small.notes == ()
    assert giant.notes == (
        "warning: the pyramid's stage1 has a layer of 268 million weights; "
        "a network with fewer channels in its last stage makes it smaller",
    )


def test_stages_enter_attached() -> None:
    network = create("ResNet18w16", classes=10, image_size=16)
    heads = Pyramid(network)(network(torch.randn(4, 3, 16, 16)).stages)
    heads.outputs["stage3"].logits.square().sum().backward()
    assert network.layer1[0].conv1.weight.grad.any()
    assert network.layer4[1].conv2.weight.grad.any()
    assert network.linear.weight.grad is None


def test_the_deepest_features_are_what_the_classifier_reads() -> None:
    network = create("ResNet18w16", classes=10, image_size=16)
    output = network(torch.randn(4, 3, 16, 16))
    assert torch.equal(Pyramid(network)(output.stages).deepest, output.pooled)


def test_layers_keep_the_start_of_pytorch() -> None:
    torch.manual_seed(0)
    for key, layer in Pyramid(of_shapes((16, 8, 8), (32, 4, 4), (64, 2, 2))).named_modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            bound = 1 / layer.weight[0].numel() ** 0.5
            assert 0.9 * bound < layer.weight.abs().max().item() <= bound, key


@pytest.mark.parametrize(
    ("sides", "patches"),
    [
        ((32, 16, 8, 4), (8, 4, 2)),
        ((56, 28, 14, 7), (8, 4, 2)),
        ((8, 4, 2, 1), (4, 2, 1)),
        ((1, 1), (1,)),
        ((3, 1), (1,)),
        ((14, 14, 14), (1, 1)),
        ((8, 8, 4), (2, 2)),
        ((20, 10, 5, 3), (6, 3, 1)),
        ((33, 5), (6,)),
    ],
)
def test_any_sides(sides: tuple[int, ...], patches: tuple[int, ...]) -> None:
    shapes = tuple((3 + i, side, side) for i, side in enumerate(sides))
    assert kernels(shapes) == tuple((patch, patch) for patch in patches)
    heads = Pyramid(of_shapes(*shapes, classes=4))([torch.randn(2, *shape) for shape in shapes])
    assert [head.logits.shape for head in heads.outputs.values()] == [(2, 4)] * (len(sides) - 1)


def test_sides_that_are_not_square() -> None:
    shapes = ((3, 12, 4), (4, 6, 2))
    assert kernels(shapes) == ((2, 2),)
    assert Pyramid(of_shapes(*shapes))([torch.randn(2, *shape) for shape in shapes]).deepest.shape == (2, 4)


def test_stages_of_one_side_are_not_resampled() -> None:
    maps = torch.randn(2, 3, 5, 5)
    assert torch.equal(F.interpolate(maps, size=(5, 5), mode="bilinear", align_corners=True), maps)


def test_tokens_become_maps() -> None:
    assert tiny
    network = create("tiny_tokens", classes=10, channels=1, image_size=8)
    output = network(torch.randn(2, 1, 8, 8))
    heads = Pyramid(network)(output.stages)
    torch.testing.assert_close(heads.deepest, output.stages[-1][:, 1:].mean(dim=1))  # all but the class token


def test_one_stage_and_growing_sides_are_refused() -> None:
    with pytest.raises(DocendoError, match=r"all stages but the last, and this network has one stage: choose one"):
        Pyramid(of_shapes((8, 4, 4)))
    with pytest.raises(DocendoError, match=r"stage 2 has 4x4 places and stage 3 has 8x8: .* do not grow"):
        Pyramid(of_shapes((8, 8, 8), (8, 4, 4), (8, 8, 8)))


@pytest.mark.parametrize("chosen", ["", "1,1", "one", "-1", "nan", "inf", "1,1,1,1", "1,,1"])
def test_head_weights_that_are_none_are_refused(chosen: str) -> None:
    heads = Pyramid(of_shapes((3, 4, 4), (4, 2, 2), (5, 2, 2), (6, 1, 1)))(
        [torch.randn(2, *shape) for shape in ((3, 4, 4), (4, 2, 2), (5, 2, 2), (6, 1, 1))]
    )
    assert head_weights("1, 0.5,0", heads) == {"stage1": 1.0, "stage2": 0.5, "stage3": 0.0}
    assert set(head_weights("0.25", heads).values()) == {0.25}
    with pytest.raises(DocendoError) as error:
        head_weights(chosen, heads)
    assert str(error.value) == (
        f'head_weights is "{chosen}", but must be one number of at least 0, or 3 with commas between, '
        "for stage1, stage2, stage3"
    )

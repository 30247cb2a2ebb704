"""The CIFAR networks agree with the published table and keep the names of its weights files."""

import math

import pytest
import torch

from docendo.networks import create, macs, parameters

TABLE = [
    ("resnet8", 83_892, 12.5),
    ("resnet14", 181_108, 26.7),
    ("resnet20", 278_324, 40.8),
    ("resnet32", 472_756, 69.1),
    ("resnet44", 667_188, 97.4),
    ("resnet56", 861_620, 125.8),
    ("resnet110", 1_736_564, 253.2),
    ("resnet8x4", 1_233_540, 177.1),
    ("resnet32x4", 7_433_860, 1083.0),
    ("wrn_16_1", 180_916, 26.7),
    ("wrn_16_2", 703_284, 101.1),
    ("wrn_40_1", 569_780, 83.3),
    ("wrn_40_2", 2_255_156, 327.6),
]


@pytest.mark.parametrize(("name", "count", "millions"), TABLE)
def test_parameters_and_macs_are_those_of_the_table(name: str, count: int, millions: float) -> None:
    network = create(name, classes=100)
    assert parameters(network) == count
    assert round(macs(network) / 1e6, 1) == millions


@pytest.mark.parametrize(
    ("name", "shapes", "pooled"),
    [
        ("resnet20", ((16, 32, 32), (32, 16, 16), (64, 8, 8)), 64),
        ("resnet8x4", ((64, 32, 32), (128, 16, 16), (256, 8, 8)), 256),
        ("wrn_16_2", ((32, 32, 32), (64, 16, 16), (128, 8, 8)), 128),
    ],
)
def test_stage_outputs(name: str, shapes: tuple[tuple[int, int, int], ...], pooled: int) -> None:
    network = create(name, classes=100)
    assert network.shapes == shapes
    assert network.widths == tuple(shape[0] for shape in shapes)
    assert network(torch.randn(2, 3, 32, 32)).pooled.shape == (2, pooled)


def test_resnet_stages_come_after_the_relu_and_wide_ones_are_raw_sums() -> None:
    torch.manual_seed(0)
    images = torch.randn(4, 3, 32, 32)
    assert all((stage >= 0).all() for stage in create("resnet8", classes=10)(images).stages)
    assert all((stage < 0).any() for stage in create("wrn_16_1", classes=10)(images).stages)


def test_key_names_are_those_of_the_weights_files() -> None:
    statistics = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")

    def norm(name: str) -> set[str]:
        return {f"{name}.{s}" for s in statistics}

    expected = {"conv1.weight", "fc.weight", "fc.bias"} | norm("bn1")
    for group in (1, 2, 3):
        block = f"layer{group}.0"
        expected |= {f"{block}.conv1.weight", f"{block}.conv2.weight"} | norm(f"{block}.bn1") | norm(f"{block}.bn2")
        if group > 1:
            expected |= {f"{block}.downsample.0.weight"} | norm(f"{block}.downsample.1")
    assert set(create("resnet8", classes=10).state_dict()) == expected

    expected = {"conv1.weight", "fc.weight", "fc.bias"} | norm("bn1")
    for group in (1, 2, 3):
        block = f"block{group}.layer.0"
        expected |= {f"{block}.conv1.weight", f"{block}.conv2.weight", f"{block}.convShortcut.weight"}
        expected |= norm(f"{block}.bn1") | norm(f"{block}.bn2")
    assert set(create("wrn_10_2", classes=10).state_dict()) == expected


@pytest.mark.parametrize("name", ["resnet56", "wrn_40_2"])
def test_convolutions_start_with_the_fan_out_deviation(name: str) -> None:
    torch.manual_seed(0)
    weight = create(name, classes=10).state_dict()[
        "layer3.1.conv1.weight" if name == "resnet56" else "block3.layer.1.conv1.weight"
    ]
    assert weight.std().item() == pytest.approx(math.sqrt(2 / (9 * weight.shape[0])), rel=0.02)
    assert abs(weight.mean().item()) < 0.002


def test_timm_resnets_give_what_timm_gives() -> None:
    import timm

    network = create("resnet18", classes=7, image_size=64)
    original = timm.create_model("resnet18", num_classes=7)
    assert list(network.state_dict()) == list(original.state_dict())
    original.load_state_dict(network.state_dict())
    images = torch.randn(2, 3, 64, 64)
    assert torch.equal(network(images).logits, original(images))
    assert network.shapes == ((64, 16, 16), (128, 8, 8), (256, 4, 4), (512, 2, 2))

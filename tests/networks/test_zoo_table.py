"""The rest of the zoo: published counts, stages at every image size, parts, spellings, first weights, refusals."""

import copy
import math

import pytest
import torch
from torch import nn

from docendo.errors import DocendoError
from docendo.networks import NetworkSpec, StagedNetwork, catalog, create, macs, names, parameters
from docendo.networks.weights import _shapes_of

VGG = ((64, 32), (128, 16), (256, 8), (512, 4))
BOTTLENECKS = ((256, 32), (512, 16), (1024, 8), (2048, 4))

# Counts without a published figure (ResNet18w16, ResNeXt34, ResNeXt50, SEResNet34, SEResNet50) are counted by hand,
# layer by layer.
TABLE = [
    ("vgg8", 3_965_028, 96.2, VGG, 512),
    ("vgg11", 9_277_284, 209.4, VGG, 512),
    ("vgg13", 9_462_180, 284.9, VGG, 512),
    ("vgg16", 14_774_436, 398.2, VGG, 512),
    ("vgg19", 20_086_692, 511.4, VGG, 512),
    ("MobileNetV2", 812_836, 6.5, ((12, 16), (16, 8), (48, 4), (160, 2)), 1280),
    ("ShuffleV1", 949_258, 38.7, ((240, 16), (480, 8), (960, 4)), 960),
    ("ShuffleV2", 1_355_528, 44.5, ((116, 16), (232, 8), (464, 4)), 1024),
    ("ResNet18", 11_220_132, 555.5, VGG, 512),
    ("ResNet18w16", 713_076, 35.1, ((16, 32), (32, 16), (64, 8), (128, 4)), 128),
    ("ResNet34", 21_328_292, 1159.4, VGG, 512),
    ("ResNet50", 23_705_252, 1298.0, BOTTLENECKS, 2048),
    ("ResNeXt18", 22_209_444, 1102.8, VGG, 512),
    ("ResNeXt34", 42_422_052, 2310.8, VGG, 512),
    ("ResNeXt50", 23_177_124, 1344.2, BOTTLENECKS, 2048),
    ("SEResNet18", 11_314_012, 555.6, VGG, 512),
    ("SEResNet34", 21_498_000, 1159.6, VGG, 512),
    ("SEResNet50", 26_262_804, 1300.5, BOTTLENECKS, 2048),
    ("densenet_bc_100_12", 800_032, 288.0, ((216, 32), (300, 16), (342, 8)), 342),
]
FAMILIES = [
    "vgg8",
    "MobileNetV2",
    "ShuffleV1",
    "ShuffleV2",
    "ResNet18",
    "ResNeXt50",
    "SEResNet50",
    "densenet_bc_100_12",
]


def _meta(name: str, **numbers: int) -> StagedNetwork:
    """Make a network that has shapes but no numbers, which costs nothing to run."""
    with torch.device("meta"):
        return create(name, classes=100, **numbers)


@pytest.mark.parametrize(("name", "count", "millions", "stages", "pooled"), TABLE, ids=[row[0] for row in TABLE])
def test_counts_and_stages_are_those_of_the_table(
    name: str, count: int, millions: float, stages: tuple[tuple[int, int], ...], pooled: int
) -> None:
    network = _meta(name)
    assert parameters(network) == count
    assert round(macs(network) / 1e6, 1) == millions
    assert network.shapes == tuple((width, side, side) for width, side in stages)
    assert network(torch.empty(2, 3, 32, 32, device="meta")).pooled.shape == (2, pooled)


@pytest.mark.parametrize(
    ("name", "size", "sides"),
    [
        ("vgg8", 8, (8, 4, 2, 1)),
        ("vgg13", 63, (63, 31, 15, 7)),
        ("vgg13", 64, (64, 32, 16, 8, 4)),
        ("vgg13", 65, (65, 32, 16, 8)),
        ("MobileNetV2", 64, (32, 16, 8, 4)),
        ("MobileNetV2", 8, (4, 2, 1, 1)),
        ("ShuffleV1", 64, (32, 16, 8)),
        ("ShuffleV1", 1, (1, 1, 1)),
        ("ShuffleV2", 33, (17, 9, 5)),
        ("ResNet50", 64, (64, 32, 16, 8)),
        ("ResNeXt50", 5, (5, 3, 2, 1)),
        ("SEResNet18", 64, (64, 32, 16, 8)),
        ("densenet_bc_100_12", 64, (64, 32, 16)),
        ("densenet_bc_100_12", 4, (4, 2, 1)),
    ],
)
def test_stages_at_other_image_sizes(name: str, size: int, sides: tuple[int, ...]) -> None:
    assert tuple(shape[1] for shape in _meta(name, channels=1, image_size=size).shapes) == sides


@pytest.mark.parametrize("name", FAMILIES)
def test_grey_digits_and_larger_images_than_it_was_made_for(name: str) -> None:
    network = create(name, classes=10, channels=1, image_size=8).eval()
    for size in (8, 20):
        output = network(torch.randn(2, 1, size, size))
        assert output.logits.shape == (2, 10)
        assert output.logits.isfinite().all()


@pytest.mark.parametrize(("name", "least"), [("vgg8", 8), ("vgg19", 8), ("densenet_bc_100_12", 4)])
def test_images_of_which_nothing_would_be_left_are_refused(name: str, least: int) -> None:
    side = least - 1
    with pytest.raises(DocendoError) as error:
        create(name, classes=10, image_size=side)
    assert str(error.value) == (
        f"{name} needs images of at least {least}x{least} pixels, got {side}x{side}, of which its pools would leave "
        "nothing: choose a larger --image-size or another network"
    )


@pytest.mark.parametrize("name", FAMILIES)
def test_parts_joined_and_tails_equal_the_whole(name: str) -> None:
    network = create(name, classes=10, image_size=16)
    twin = copy.deepcopy(network)
    images = torch.randn(4, 3, 16, 16)
    whole, x = network(images), images
    for stage, seen in zip(twin.stages, whole.stages, strict=True):
        x = stage(x)
        assert torch.equal(x, seen)
    joined = twin.head(x)
    assert torch.equal(joined.logits, whole.logits)
    for logits in (whole.logits, joined.logits):
        logits.square().sum().backward()
    for (key, one), two in zip(network.named_parameters(), twin.parameters(), strict=True):
        assert one.grad is not None, key
        assert torch.equal(one.grad, two.grad), key
    for one, two in zip(network.buffers(), twin.buffers(), strict=True):
        assert torch.equal(one, two)
    network.eval()
    whole = network(images)
    for i, features in enumerate(whole.stages):
        tail = copy.deepcopy(network.tail(i))(features)
        assert torch.equal(tail.logits, whole.logits)
        assert torch.equal(tail.pooled, whole.pooled)
        assert all(map(torch.equal, tail.stages, whole.stages[i + 1 :]))


def test_the_two_last_groups_of_vgg_are_two_stages_at_64_pixels() -> None:
    network = create("vgg8", classes=10, image_size=64)
    assert network.fresh().shapes == network.shapes
    assert network.widths == (64, 128, 256, 512, 512)
    other = create("vgg8", classes=10, image_size=32)
    other.load_state_dict(network.state_dict())
    assert other.widths == (64, 128, 256, 512)


def test_which_stage_outputs_come_after_an_activation() -> None:
    torch.manual_seed(0)
    images = torch.randn(4, 3, 16, 16)
    linear = {"MobileNetV2", "densenet_bc_100_12"}
    for name in FAMILIES:
        negative = [bool((stage < 0).any()) for stage in create(name, classes=10, image_size=16)(images).stages]
        assert all(negative) if name in linear else not any(negative), name


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("ShuffleNetV1", "ShuffleV1"),
        ("ShuffleNetV2", "ShuffleV2"),
        ("ShuffleNet-V2", "ShuffleV2"),
        ("shufflenet_v1", "ShuffleV1"),
        ("shufflev2", "ShuffleV2"),
        ("mobilenetv2", "MobileNetV2"),
        ("MobileNet-V2", "MobileNetV2"),
        ("mobile_half", "MobileNetV2"),
        ("VGG8", "vgg8"),
        ("vgg-16", "vgg16"),
        ("VGG_19", "vgg19"),
        ("ResNet-18", "ResNet18"),
        ("ResNeXt-50", "ResNeXt50"),
        ("ResNet-18w16", "ResNet18w16"),
        ("ResNet-18-w16", "ResNet18w16"),
        ("SE-ResNet-18", "SEResNet18"),
        ("SE_ResNet34", "SEResNet34"),
        ("DenseNet-BC-100-12", "densenet_bc_100_12"),
        ("densenet-100-12", "densenet_bc_100_12"),
    ],
)
def test_spellings(spelling: str, name: str) -> None:
    assert catalog.canonical(spelling) == name


@pytest.mark.parametrize("name", ["mobilenet_v2", "vgg16_bn", "seresnet50", "shufflenet_v2_x1_0", "densenet121"])
def test_names_of_other_libraries_are_not_taken(name: str) -> None:
    assert catalog._resolve(name) not in {row[0] for row in TABLE}


def test_upper_and_lower_case_are_different_resnets() -> None:
    assert {"ResNet18", "resnet18"} <= set(names())
    assert parameters(_meta("ResNet18")) != parameters(_meta("resnet18"))


def test_every_network_has_tensors_of_its_own_so_that_files_are_recognised() -> None:
    shapes = [tuple(sorted(_shapes_of(NetworkSpec(name, classes=10)).items())) for name in names()]
    assert len(set(shapes)) == len(shapes)


@pytest.mark.parametrize("name", ["vgg8", "MobileNetV2", "ResNet18", "ResNeXt50", "densenet_bc_100_12"])
def test_convolutions_start_with_the_fan_out_deviation(name: str) -> None:
    torch.manual_seed(0)
    network = create(name, classes=10)
    for key, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d):
            height, width = layer.kernel_size
            deviation = math.sqrt(2 / (height * width * layer.out_channels))
            # Five standard errors of a deviation estimated from so many numbers.
            assert abs(layer.weight.std().item() / deviation - 1) < 5 / math.sqrt(2 * layer.weight.numel()), key
            assert layer.bias is None or not layer.bias.any(), key


@pytest.mark.parametrize("name", ["vgg8", "MobileNetV2"])
def test_some_classifiers_start_near_zero(name: str) -> None:
    torch.manual_seed(0)
    classifier = list(create(name, classes=100).modules())[-1]
    assert isinstance(classifier, nn.Linear)
    assert classifier.weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert not classifier.bias.any()


@pytest.mark.parametrize("name", ["ShuffleV1", "ShuffleV2", "SEResNet18"])
def test_some_networks_keep_the_start_of_pytorch(name: str) -> None:
    torch.manual_seed(0)
    for key, layer in create(name, classes=10).named_modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            bound = 1 / math.sqrt(layer.weight[0].numel())
            assert 0.9 * bound < layer.weight.abs().max().item() <= bound, key

"""The zoo keeps the names that tensors have in the weights files of the reference zoo."""

from pathlib import Path

import pytest
import torch

from docendo.networks import create, read

NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


@pytest.mark.parametrize(
    ("name", "count", "some"),
    [
        (
            "vgg8",
            37,
            {
                "block0.0.weight": (64, 3, 3, 3),
                "block0.0.bias": (64,),
                **{f"block4.1.{key}": (512,) for key in NORM[:4]},
                "classifier.weight": (100, 512),
            },
        ),
        ("vgg13", 72, {"block2.3.weight": (256, 256, 3, 3), "block2.4.running_var": (256,)}),
        ("vgg19", 114, {"block4.9.weight": (512, 512, 3, 3), "block4.10.weight": (512,)}),
        (
            "MobileNetV2",
            320,
            {
                "conv1.0.weight": (16, 3, 3, 3),
                "blocks.0.0.conv.0.weight": (16, 16, 1, 1),
                "blocks.3.3.conv.3.weight": (192, 1, 3, 3),
                "blocks.6.0.conv.7.running_mean": (160,),
                "conv2.0.weight": (1280, 160, 1, 1),
                "classifier.0.bias": (100,),
            },
        ),
        (
            "ShuffleV1",
            296,
            {
                "conv1.weight": (24, 3, 1, 1),
                "layer1.0.conv1.weight": (54, 24, 1, 1),
                "layer1.0.conv3.weight": (216, 18, 1, 1),
                "layer2.7.conv2.weight": (120, 1, 3, 3),
                "layer3.3.bn3.weight": (960,),
                "linear.weight": (100, 960),
            },
        ),
        (
            "ShuffleV2",
            338,
            {
                "layer1.0.conv1.weight": (24, 1, 3, 3),
                "layer2.0.conv5.weight": (116, 116, 1, 1),
                "layer2.7.bn3.bias": (116,),
                "conv2.weight": (1024, 464, 1, 1),
                "bn2.running_var": (1024,),
                "linear.weight": (100, 1024),
            },
        ),
        (
            "ResNet18",
            122,
            {
                "conv1.weight": (64, 3, 3, 3),
                "layer2.0.shortcut.0.weight": (128, 64, 1, 1),
                "layer2.0.shortcut.1.num_batches_tracked": (),
                "layer4.1.bn2.weight": (512,),
                "linear.weight": (100, 512),
            },
        ),
        (
            "ResNet50",
            320,
            {
                "layer1.0.shortcut.0.weight": (256, 64, 1, 1),
                "layer3.5.conv3.weight": (1024, 256, 1, 1),
                "linear.weight": (100, 2048),
            },
        ),
        ("ResNeXt50", 320, {"layer1.0.conv2.weight": (128, 4, 3, 3)}),
        (
            "SEResNet18",
            174,
            {
                "pre.0.bias": (64,),
                "stage2.0.residual.3.weight": (128, 128, 3, 3),
                "stage2.0.shortcut.0.bias": (128,),
                "stage4.1.excitation.2.weight": (512, 32),
                "linear.bias": (100,),
            },
        ),
        (
            "densenet_bc_100_12",
            596,
            {
                "conv1.weight": (24, 3, 3, 3),
                "dense1.15.conv1.weight": (48, 204, 1, 1),
                "trans2.conv1.weight": (150, 300, 1, 1),
                "bn.weight": (342,),
                "fc.weight": (100, 342),
            },
        ),
    ],
)
def test_keys_are_those_of_the_weights_files(name: str, count: int, some: dict[str, tuple[int, ...]]) -> None:
    state = create(name, classes=100).state_dict()
    assert len(state) == count
    assert {key: tuple(state[key].shape) for key in some} == some


@pytest.mark.parametrize("name", ["vgg8", "MobileNetV2", "ShuffleV2", "ResNet18"])
def test_a_file_is_recognised_and_gives_the_same_logits(name: str, tmp_path: Path) -> None:
    network = create(name, classes=7, channels=1).eval()
    path = tmp_path / "best.pth"
    torch.save({"epoch": 240, "model": network.state_dict(), "best_acc": 70.1}, path)
    found = read(path).network.eval()
    assert (found.spec.architecture, found.spec.classes, found.spec.channels) == (name, 7, 1)
    images = torch.randn(2, 1, 32, 32)
    assert torch.equal(found(images).logits, network(images).logits)

"""timm's and torchvision's networks by name: made, fitted to small images, saved, and read by their own library."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file
from torchvision import models

from docendo.errors import DocendoError
from docendo.networks import NetworkSpec, catalog, create, load, parameters, register, save


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("resnet18", "resnet18"),
        ("timm/resnet18", "resnet18"),
        ("torchvision/resnet18", "torchvision/resnet18"),
        ("convnext_atto", "timm/convnext_atto"),
        ("mobilenet_v2", "torchvision/mobilenet_v2"),
        ("vgg16", "vgg16"),
        ("timm/vgg16", "timm/vgg16"),
    ],
)
def test_names(spelling: str, name: str) -> None:
    assert catalog.canonical(spelling) == name


@pytest.mark.parametrize(
    ("name", "nearest"), [("convnext_attoo", "convnext_atto"), ("timm/vit_smal_patch16_224", "vit_small_patch16_224")]
)
def test_unknown_names_suggest_theirs_too(name: str, nearest: str) -> None:
    with pytest.raises(DocendoError) as error:
        create(name, classes=2)
    assert str(error.value) == f'unknown network "{name}": did you mean "{nearest}"?'


def test_a_network_of_timm_is_itself_for_larger_images() -> None:
    network = create("regnetx_002", classes=7, image_size=64)
    assert network.spec == NetworkSpec("timm/regnetx_002", 7, 3, 64)
    assert network.notes == ()
    original = timm.create_model("regnetx_002", num_classes=7)
    original.load_state_dict(network.state_dict())
    images = torch.randn(2, 3, 64, 64)
    assert torch.equal(network.eval()(images).logits, original.eval()(images))
    fresh = network.fresh()
    assert fresh.spec == network.spec
    assert not torch.equal(fresh.state_dict()["head.fc.weight"], network.state_dict()["head.fc.weight"])


@pytest.mark.parametrize(
    ("name", "size", "lowered", "sides"),
    [
        ("resnet18", 32, "conv1 and maxpool", (32, 16, 8, 4)),
        ("resnet18", 8, "conv1 and maxpool", (8, 4, 2, 1)),
        ("timm/mobilenetv3_small_050", 32, "conv_stem", (16, 8, 4, 2)),
        ("timm/convnext_atto", 32, "stem.0", (16, 8, 4, 2)),
        ("torchvision/shufflenet_v2_x0_5", 32, "conv1.0 and maxpool", (16, 8, 4)),
    ],
)
def test_stems_are_fitted_to_small_images(name: str, size: int, lowered: str, sides: tuple[int, ...]) -> None:
    network = create(name, classes=10, image_size=size)
    assert tuple(shape[1] for shape in network.shapes) == sides
    assert network.notes == (
        f"{name} is made for larger images: for {size} pixels the strides of its {lowered} were lowered, so that its "
        f"stages give maps of {', '.join(map(str, sides))} pixels",
    )
    library, _, plain = name.rpartition("/")
    maker: Any = models.get_model if library == "torchvision" else timm.create_model
    shapes = {key: value.shape for key, value in maker(plain, num_classes=10).state_dict().items()}
    assert {key: value.shape for key, value in network.state_dict().items()} == shapes


@pytest.mark.parametrize("name", ["timm/resnet18", "torchvision/resnet18", "torchvision/squeezenet1_1"])
def test_grey_images(name: str) -> None:
    network = create(name, classes=4, channels=1, image_size=64)
    assert network(torch.randn(2, 1, 64, 64)).logits.shape == (2, 4)


def test_a_saved_network_goes_back_into_its_own_library(tmp_path: Path) -> None:
    path = tmp_path / "student.safetensors"
    network = create("torchvision/mobilenet_v3_small", classes=6, image_size=64)
    save(network, path, class_names=None, mean=None, std=None, role="student")
    again = load(path)
    assert again.spec == network.spec
    original = models.mobilenet_v3_small(num_classes=6)
    original.load_state_dict(load_file(path))
    images = torch.randn(2, 3, 64, 64)
    logits = network.eval()(images).logits
    assert torch.equal(original.eval()(images), logits)
    assert torch.equal(again.eval()(images).logits, logits)


def test_a_plain_file_of_timm_is_recognised_and_read_at_its_usual_size(tmp_path: Path) -> None:
    path = tmp_path / "resnet18.pth"
    original = timm.create_model("resnet18", num_classes=9)
    torch.save(original.state_dict(), path)
    network = load(path)
    assert network.spec == NetworkSpec("resnet18", 9, 3, 224)
    assert network.notes == ()
    assert torch.equal(network.state_dict()["fc.weight"], original.state_dict()["fc.weight"])


def test_published_weights_keep_all_but_the_classifier(monkeypatch: pytest.MonkeyPatch) -> None:
    published = models.squeezenet1_1()
    make = models.get_model

    def offline(name: str, weights: str | None = None, **options: Any) -> Any:
        return published if weights == "DEFAULT" else make(name, weights=None, **options)

    monkeypatch.setattr(models, "get_model", offline)
    network = create("squeezenet1_1", classes=4, image_size=64, weights="pretrained")
    state, theirs = network.state_dict(), published.state_dict()
    assert all(torch.equal(state[key], theirs[key]) for key in state if not key.startswith("classifier"))
    assert state["classifier.1.weight"].shape[0] == 4
    assert not torch.equal(network.fresh().state_dict()["features.0.weight"], state["features.0.weight"])
    with pytest.raises(
        DocendoError, match="torchvision cannot make squeezenet1_1 for 64-pixel images with its published"
    ):
        create("squeezenet1_1", classes=4, channels=1, image_size=64, weights="pretrained")


def test_published_weights_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: Any, pretrained: bool, **__: Any) -> None:
        raise OSError(f"no connection, pretrained={pretrained}")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(DocendoError) as error:
        create("resnet18", classes=4, image_size=64, weights="pretrained")
    assert str(error.value) == (
        "timm cannot make resnet18 for 64-pixel images with its published weights: no connection, pretrained=True"
    )
    with pytest.raises(DocendoError) as error:
        create("resnet20", classes=4, weights="pretrained")
    assert str(error.value) == (
        "resnet20 has no published weights: give a weights file, or a network of timm or torchvision"
    )


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("alexnet", 8, r"cannot cut AlexNet: it does not run on 8x8 images \("),
        ("torchvision/vit_b_16", 8, r"torchvision cannot make vit_b_16 for 8-pixel images: "),
        ("crossvit_tiny_240", 240, r"cannot cut CrossVit: its own forward cannot be followed at `if H != ss\[0\]"),
        ("pit_xs_224", 224, r"cannot cut PoolingVisionTransformer: two stages or more are needed, found 0"),
    ],
)
def test_what_cannot_be_made_or_cut_is_refused(name: str, size: int, message: str) -> None:
    with pytest.raises(DocendoError, match=message):
        create(name, classes=4, image_size=size)


def test_a_registered_module_that_is_not_staged_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "_TABLE", dict(catalog._TABLE))
    monkeypatch.setattr(catalog, "_REGISTERED", set())
    register(
        "half", lambda spec: timm.create_model("mobilenetv2_050", num_classes=spec.classes, in_chans=spec.channels)
    )
    network = create("half", classes=3, channels=1, image_size=64)
    assert network.spec == NetworkSpec("half", 3, 1, 64)
    assert [shape[1] for shape in network.shapes] == [32, 16, 8, 4, 2]
    assert parameters(network.fresh()) == parameters(network)

"""Networks of every kind serve in every role, or are refused in words; a script of that name tries all of them."""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

import docendo
from docendo.errors import DocendoError
from docendo.networks import create

SCRIPT = Path(__file__).parents[2] / "scripts" / "every_network_in_every_role.py"

NATIVE = ("wrn_16_1", "vgg8", "MobileNetV2", "ShuffleV1", "SEResNet18", "densenet_bc_100_12")
PARTNERS = ("ShuffleV2", "timm/mobilenetv3_small_050")


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("every_network_in_every_role", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture(scope="module")
def cast(script: ModuleType) -> Any:
    return script.Cast()


@pytest.mark.parametrize(("size", "channels"), [(8, 1), (28, 3)])
@pytest.mark.parametrize("name", NATIVE)
def test_native_networks_beside_native_and_cut_ones(
    name: str, size: int, channels: int, script: ModuleType, cast: Any
) -> None:
    found = {pair: script.attempt(pair, cast) for pair in script.pairs([name], PARTNERS, size, channels)}
    for result in found.values():
        assert result == "ok" or "choose another --image-size or networks that shrink alike" in result
    assert all(result == "ok" for pair, result in found.items() if pair.method == "kd")
    cast.forget(*PARTNERS)


@pytest.mark.parametrize(
    ("name", "partner", "size"),
    [
        ("timm/vit_tiny_patch16_224", "resnet8", 32),
        ("timm/convnext_atto", "ShuffleV2", 64),
    ],
)
def test_tokens_and_channels_last_in_every_role(
    name: str, partner: str, size: int, script: ModuleType, cast: Any
) -> None:
    results = {pair: script.attempt(pair, cast) for pair in script.pairs([name], [partner], size, 3)}
    assert set(results.values()) == {"ok"}, results
    cast.forget()


@pytest.mark.parametrize(
    ("name", "size", "reason"),
    [
        ("timm/vit_tiny_patch16_224", 8, "cannot cut VisionTransformer: it does not run on 8x8 images"),
        ("timm/vit_tiny_patch16_224", 28, "cannot cut VisionTransformer: two stages or more are needed, found 0:"),
        ("timm/convnext_atto", 28, "cannot cut ConvNeXt: it does not run on 28x28 images"),
    ],
)
def test_what_is_too_small_is_refused(name: str, size: int, reason: str) -> None:
    message = rf"^{name} for images of {size} pixels: {reason} .*; choose a larger --image-size or another network$"
    with pytest.raises(DocendoError, match=message):
        create(name, classes=10, image_size=size)


def test_cut_networks_train_through_the_whole_engine(small_run: Callable[..., docendo.Run]) -> None:
    sets = {"data.train_images": 10, "data.validation": 0, "data.image_size": 32}
    networks = {"teacher": "timm/test_convnext", "student": "timm/mobilenetv3_small_050"}
    run = small_run("kd", **networks, epochs=1, batch_size=10, set=sets, test=False)
    assert run.network.spec.image_size == 32
    assert all(torch.isfinite(p).all() for p in run.network.parameters())

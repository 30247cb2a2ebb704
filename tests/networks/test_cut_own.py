"""Modules of the user's own, cut; and what is said of those that cannot be."""

import copy
import pickle
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from docendo.errors import DocendoError
from docendo.networks import Layout, cut, macs


class Own(nn.Module):
    """Everything in one forward: a skip, dropout by function, a plain tensor, and the batch size asked for early."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = torch.tensor(0.5).reshape(1, 1, 1, 1)
        self.scale = nn.Parameter(torch.ones(1, 8, 1, 1))
        self.first = nn.Conv2d(1, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.second = nn.Conv2d(8, 16, 3, stride=2, padding=1)
        self.third = nn.Conv2d(16, 16, 3, padding=1)
        self.out = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        count = x.shape[0]
        x = F.relu(self.norm(self.first(x - self.shift))) * self.scale
        x = F.dropout(x, 0.3, training=self.training)
        x = F.relu(self.second(x) * self.scale.mean())
        x = F.relu(x + self.third(x))
        x = F.dropout(x.mean(dim=(2, 3)).reshape(count, 16), 0.5, self.training)
        logits: Tensor = self.out(x)
        return logits


def test_own_code_and_dropout_follow_the_mode() -> None:
    torch.manual_seed(0)
    module = Own()
    whole = copy.deepcopy(module)
    network = cut(module, torch.zeros(1, 1, 8, 8))
    assert network.shapes == ((8, 8, 8), (16, 4, 4))
    assert list(network.state_dict()) == list(whole.state_dict())
    images = torch.randn(6, 1, 8, 8)
    torch.manual_seed(1)
    expected = whole(images)
    torch.manual_seed(1)
    assert torch.equal(network(images).logits, expected)
    assert torch.equal(network.eval()(images).logits, whole.eval()(images))
    assert torch.equal(network(images).logits, network(images).logits)
    network.train()
    assert not torch.equal(network(images).logits, network(images).logits)
    tail = copy.deepcopy(network.tail(0)).eval()
    features = network(images).stages[0]
    assert torch.equal(tail(features).logits, tail(features).logits)
    assert network.training


def test_copies_tails_and_pickles_stand_alone() -> None:
    network = cut(Own(), torch.zeros(1, 1, 8, 8)).eval()
    images = torch.randn(2, 1, 8, 8)
    output = network(images)
    tail = copy.deepcopy(network.tail(0))
    assert {name.rpartition(".")[0] for name, _ in tail.named_parameters()} == {
        "stages.0.second",
        "stages.0.third",
        "stages.0",
        "head.out",
    }
    for twin in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        with torch.no_grad():
            twin.out.bias.add_(1.0)
        assert torch.allclose(twin(images).logits, output.logits + 1.0)
    assert torch.equal(network(images).logits, output.logits)
    assert torch.equal(tail(output.stages[0]).logits, output.logits)


def test_cutting_changes_neither_the_module_nor_the_random_numbers() -> None:
    module = Own()
    module.norm.eval()
    before = copy.deepcopy(module.state_dict())
    torch.manual_seed(3)
    state = torch.get_rng_state()
    network = cut(module, torch.zeros(1, 1, 8, 8))
    assert torch.equal(torch.get_rng_state(), state)
    assert type(module) is Own
    assert (module.training, module.norm.training, network.training) == (True, False, True)
    for key, value in module.state_dict().items():
        assert torch.equal(value, before[key]), key
    assert network.out is module.out


def test_fresh_needs_a_factory() -> None:
    with pytest.raises(DocendoError) as error:
        cut(Own(), torch.zeros(1, 1, 8, 8)).fresh()
    assert str(error.value) == (
        "Own cannot be built afresh: create it by name (docendo.networks.register makes your own known), or give cut() "
        "its factory"
    )
    network = cut(Own(), torch.zeros(1, 1, 8, 8), name="own", factory=Own)
    fresh = network.fresh()
    assert fresh.spec == network.spec
    assert not torch.equal(fresh.state_dict()["first.weight"], network.state_dict()["first.weight"])
    assert fresh.fresh().shapes == network.shapes


def test_converted_layers_are_used() -> None:
    network = cut(Own(), torch.zeros(1, 1, 8, 8))
    network(torch.randn(2, 1, 8, 8))
    nn.SyncBatchNorm.convert_sync_batchnorm(network)
    network.train()
    kinds = [type(m) for part in (*network.stages, network.head) for m in part.modules()]
    assert nn.SyncBatchNorm in kinds
    assert nn.BatchNorm2d not in kinds


def test_a_plain_run_of_layers_is_cut_before_each_pool() -> None:
    layers: list[nn.Module] = []
    for inputs, outputs in ((3, 8), (8, 16), (16, 32)):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    network = cut(
        nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 4)), torch.zeros(1, 3, 16, 16)
    )
    assert network.shapes == ((8, 16, 16), (16, 8, 8), (32, 4, 4))
    assert (network(torch.randn(2, 3, 16, 16)).stages[2] >= 0).all()
    assert macs(network) == macs(network, (3, 16, 16)) > 0


def test_tokens_and_channels_last_are_seen_as_maps() -> None:
    swin = cut(timm.create_model("swin_tiny_patch4_window7_224", num_classes=3, img_size=32), torch.zeros(1, 3, 32, 32))
    stages = swin(torch.randn(2, 3, 32, 32)).stages
    assert stages[0].shape == (2, 8, 8, 96)
    assert torch.equal(swin.maps(stages)[0][1, :, 2, 3], stages[0][1, 2, 3])
    assert [m.shape[2] for m in swin.maps(swin.tail(1)(stages[1]).stages)] == [2, 1]
    vit = cut(timm.create_model("vit_tiny_patch16_224", num_classes=3, img_size=64), torch.zeros(1, 3, 64, 64))
    stages = vit(torch.randn(2, 3, 64, 64)).stages
    assert stages[0].shape == (2, 17, 192)
    assert torch.equal(vit.maps(stages)[0][1, :, 2, 3], stages[0][1, 1 + 2 * 4 + 3])
    assert vit.widths == (192, 192, 192, 192)
    # A class token and four registers on 2x2 places: nine tokens, which are no 3x3 places.
    registers = timm.create_model("vit_small_patch14_reg4_dinov2", num_classes=3, img_size=28)
    assert cut(registers, torch.zeros(1, 3, 28, 28)).layouts == (Layout("tokens", 5),) * 4


@pytest.mark.parametrize(
    ("layout", "shape"),
    [(Layout(), (2, 3, 4, 4)), (Layout("channels last"), (2, 4, 4, 3)), (Layout("tokens", 2), (2, 18, 3))],
)
def test_maps_go_back_to_the_raw_layout(layout: Layout, shape: tuple[int, ...]) -> None:
    maps = torch.randn(2, 3, 4, 4)
    raw = layout.raw(maps)
    assert raw.shape == shape
    assert torch.equal(layout.maps(raw), maps)
    if layout.prefix:
        assert torch.equal(raw[:, 0], raw[:, 1])
        assert torch.allclose(raw[:, 0], maps.mean(dim=(2, 3)))


class Decides(Own):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x if x.mean() > 0 else -x)


class Measures(Own):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x if x.shape[2] > 4 else F.pad(x, (2, 2, 2, 2)))


class Switches(Own):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if self.training else super().forward(2 * x)


class Hides(Own):
    def __init__(self) -> None:
        super().__init__()
        self.hidden = [nn.Conv2d(1, 1, 1)]

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.hidden[0](x))


class Names(Own):
    def forward(self, x: Tensor) -> Any:
        return {"logits": super().forward(x)}


class Flattens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(64, 16)
        self.out = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.out(F.relu(self.inner(x.flatten(1))))
        return logits


FOLLOWED = "symbolically traced variables cannot be used as inputs to control flow"
MAY_NOT = "; its code may use only layers of its own, and may not depend on the values or the sizes of what it reads"


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (
            Decides,
            "cannot cut Decides: its code depends on the values of what it reads (",
        ),
        (
            Measures,
            "cannot cut Measures: its own forward cannot be followed at "
            f"`return super().forward(x if x.shape[2] > 4 else F.pad(x, (2, 2, 2, 2)))` ({FOLLOWED}){MAY_NOT}",
        ),
        (
            Switches,
            "cannot cut Switches: its own forward cannot be followed at "
            f"`return super().forward(x) if self.training else super().forward(2 * x)` ({FOLLOWED}){MAY_NOT}",
        ),
        (
            Hides,
            "cannot cut Hides: its own forward cannot be followed at `return super().forward(self.hidden[0](x))` "
            f"(module is not installed as a submodule){MAY_NOT}",
        ),
        (Names, "cannot cut Names: it must give logits (B, K) for images, got dict"),
        (
            Flattens,
            "cannot cut Flattens: two stages or more are needed, found 0: in its code there are too few places where "
            "maps shrink and a single tensor carries all that follows",
        ),
    ],
)
def test_what_cannot_be_cut_is_refused_with_the_reason(kind: type[nn.Module], message: str) -> None:
    module = kind()
    with pytest.raises(DocendoError) as error:
        cut(module, torch.zeros(1, 1, 8, 8))
    assert str(error.value).startswith(message)
    assert type(module) is kind
    assert module.training


def test_the_part_that_cannot_be_followed_is_named() -> None:
    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = Measures()

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.backbone(x)
            return logits

    with pytest.raises(DocendoError, match='cannot cut Outer: its part "backbone" cannot be followed at'):
        cut(Outer(), torch.zeros(1, 1, 8, 8))


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 1, 8, 9)])
def test_examples_must_be_square_images(shape: tuple[int, ...]) -> None:
    with pytest.raises(DocendoError) as error:
        cut(Own(), torch.zeros(shape))
    assert str(error.value) == f"cannot cut Own: example_images must be square images (B, C, H, H), got {shape}"


def test_images_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DocendoError, match=r"cannot cut Own: it does not run on 8x8 images \("):
        cut(Own(), torch.zeros(1, 3, 8, 8))

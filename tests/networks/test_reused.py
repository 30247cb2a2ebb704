"""Networks that end in another one's head: what they compute, that files hold them, and what is refused."""

from pathlib import Path

import pytest
import torch

from docendo.errors import DocendoError
from docendo.networks import NetworkSpec, StagedNetwork, create, load, save
from docendo.networks.reused import Reused
from tests.tiny import NETWORKS

SIZE = {"classes": 7, "channels": 1, "image_size": 8}
TINY, WIDE = NETWORKS["native"]["student"], NETWORKS["native"]["teacher"]


@pytest.mark.parametrize("kind", ["native", "cut", "native with cut", "tokens"])
def test_it_is_the_stages_then_a_projector_then_the_head(kind: str) -> None:
    first, other = (create(NETWORKS[kind][role], **SIZE) for role in ("student", "teacher"))
    joined = Reused(first, other).eval()
    images = torch.randn(3, 1, 8, 8)
    said, own = joined(images), first.eval()(images)
    assert all(torch.equal(a, b) for a, b in zip(said.stages[:-1], own.stages[:-1], strict=True))
    assert joined.shapes == (*first.shapes[:-1], other.shapes[-1])
    assert torch.equal(said.logits, other.eval().head(said.stages[-1]).logits)
    assert torch.equal(joined.tail(0)(said.stages[0]).logits, said.logits)


def test_the_projector_by_hand() -> None:
    torch.manual_seed(0)
    joined = Reused(create(TINY, **SIZE), create(WIDE, **SIZE)).eval()
    layers = joined.projector.layers
    maps = torch.randn(2, 16, 2, 2)
    scale = (1 + 1e-5) ** -0.5
    x = (scale * torch.einsum("dc,bchw->bdhw", layers[1].weight.flatten(1), maps)).relu()
    x = (scale * torch.nn.functional.conv2d(x, layers[4].weight, padding=1)).relu()
    expected = scale * torch.einsum("dc,bchw->bdhw", layers[7].weight.flatten(1), x)
    torch.testing.assert_close(joined.projector(maps), expected)
    assert [layers[i].out_channels for i in (1, 4, 7)] == [12, 12, 24]


def test_its_head_is_a_copy_that_stays_in_evaluation() -> None:
    other = create("wrn_16_1", **SIZE)  # whose head has a BatchNorm
    joined = Reused(create("resnet8", **SIZE), other).train()
    assert joined.training
    assert joined.projector.training
    assert not any(module.training for module in joined.reused.modules())
    with torch.no_grad():
        other.head.classifier.weight.zero_()
    assert joined.reused.classifier.weight.abs().sum() > 0
    before = {key: value.clone() for key, value in joined.reused.state_dict().items()}
    joined(torch.randn(4, 1, 8, 8))
    assert all(torch.equal(value, before[key]) for key, value in joined.reused.state_dict().items())


@pytest.mark.parametrize("kind", ["native", "cut", "tokens"])
def test_a_file_holds_it(kind: str, tmp_path: Path) -> None:
    name = f"{NETWORKS[kind]['student']}+{NETWORKS[kind]['teacher']}"
    network = create(name, **SIZE).eval()
    assert network.spec == NetworkSpec(name, 7, 1, 8)
    save(network, tmp_path / "n.safetensors", class_names=None, mean=None, std=None, role=None)
    images = torch.randn(2, 1, 8, 8)
    assert torch.equal(load(tmp_path / "n.safetensors").eval()(images).logits, network(images).logits)
    assert network.fresh().spec == network.spec


def test_names_of_both_are_spelled_as_the_catalog_does() -> None:
    assert create("resnet-8x4+WRN-16-2", classes=7).spec.architecture == "resnet8x4+wrn_16_2"
    with pytest.raises(DocendoError, match='unknown network "resnet8x4\\+resnet9x9"'):
        create("resnet8x4+resnet9x9", classes=7)


@pytest.mark.parametrize(
    ("first", "other", "message"),
    [
        (create(TINY, **SIZE), create(WIDE, **{**SIZE, "classes": 8}), "for 7 classes of 8-pixel images cannot end in"),
        (create(TINY, **SIZE), create(WIDE, **{**SIZE, "image_size": 16}), "for 7 of 16: choose networks for the same"),
        (create(TINY, **SIZE), create(NETWORKS["tokens"]["student"], **SIZE), "reads a class token"),
        (create(f"{TINY}+{WIDE}", **SIZE), create(WIDE, **SIZE), "ends in another network's head already"),
    ],
)
def test_what_does_not_fit_is_refused(first: StagedNetwork, other: StagedNetwork, message: str) -> None:
    with pytest.raises(DocendoError, match=message):
        Reused(first, other)

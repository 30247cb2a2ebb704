"""Stages, heads and tails are the network itself, in pieces."""

import copy
import pickle

import pytest
import torch
from torch import nn

from docendo.core import evaluating
from docendo.networks import NetworkSpec, StagedNetwork, create

NAMES = ["resnet14", "resnet8x4", "wrn_16_2", "resnet18"]


def _joined(network: StagedNetwork, images: torch.Tensor) -> torch.Tensor:
    x = images
    for stage in network.stages:
        x = stage(x)
    logits: torch.Tensor = network.head(x).logits
    return logits


@pytest.mark.parametrize("mode", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("name", NAMES)
def test_parts_joined_equal_the_whole(name: str, mode: bool) -> None:
    whole = create(name, classes=10).train(mode)
    parts = copy.deepcopy(whole)
    images = torch.randn(4, 3, 32, 32)
    outputs = whole(images).logits, _joined(parts, images)
    assert torch.equal(*outputs)
    for logits in outputs:
        logits.square().sum().backward()
    for (name_, one), two in zip(whole.named_parameters(), parts.parameters(), strict=True):
        assert one.grad is not None, name_
        assert torch.equal(one.grad, two.grad), name_
    for one, two in zip(whole.buffers(), parts.buffers(), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize("name", NAMES)
def test_a_tail_continues_from_its_stage(name: str) -> None:
    network = create(name, classes=10).eval()
    output = network(torch.randn(2, 3, 32, 32))
    for i, features in enumerate(output.stages):
        tail = network.tail(i)(features)
        assert torch.equal(tail.logits, output.logits)
        assert torch.equal(tail.pooled, output.pooled)
        assert len(tail.stages) == len(output.stages) - i - 1
        assert all(map(torch.equal, tail.stages, output.stages[i + 1 :]))


def test_a_tail_shares_the_layers_of_its_network() -> None:
    network = create("resnet8", classes=10)
    own = {id(p) for p in network.parameters()}
    tail = [id(p) for p in network.tail(1).parameters()]
    assert tail
    assert own >= set(tail)


@pytest.mark.parametrize("i", [-1, 3])
def test_there_is_no_tail_beyond_the_stages(i: int) -> None:
    with pytest.raises(IndexError, match=rf"resnet8 has stages 0 to 2, no stage {i}"):
        create("resnet8", classes=10).tail(i)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda n: pickle.loads(pickle.dumps(n))], ids=["deepcopy", "pickle"])
@pytest.mark.parametrize("name", ["resnet8", "wrn_16_1"])
def test_a_copy_shares_nothing_and_owns_its_stages(name: str, copied: object) -> None:
    network = create(name, classes=10).eval()
    images = torch.randn(2, 3, 32, 32)
    before = network(images).logits
    twin = copied(network)  # type: ignore[operator]
    assert torch.equal(twin(images).logits, before)
    assert not {id(t) for t in network.state_dict(keep_vars=True).values()} & {
        id(t) for t in twin.state_dict(keep_vars=True).values()
    }
    own = {id(p) for p in twin.parameters()}
    assert own == {id(p) for part in (*twin.stages, twin.head) for p in part.parameters()}
    with torch.no_grad():
        for p in twin.parameters():
            p.add_(1.0)
    assert torch.equal(network(images).logits, before)
    assert not torch.equal(_joined(twin, images), before)
    assert twin.fresh().spec == network.spec


def test_a_copied_tail_learns_alone() -> None:
    network = create("wrn_16_1", classes=10)
    tail = copy.deepcopy(network.tail(0))
    tail(torch.randn(2, 16, 32, 32)).logits.sum().backward()
    assert all(p.grad is not None for p in tail.parameters())
    assert all(p.grad is None for p in network.parameters())


def test_a_fresh_network_has_other_weights_of_the_same_shapes() -> None:
    network = create("resnet8", classes=7, channels=1, image_size=8)
    fresh = network.fresh()
    assert fresh.spec == network.spec
    assert {k: v.shape for k, v in fresh.state_dict().items()} == {k: v.shape for k, v in network.state_dict().items()}
    assert not torch.equal(fresh.state_dict()["conv1.weight"], network.state_dict()["conv1.weight"])
    assert fresh.fresh().spec == network.spec


@pytest.mark.parametrize("name", ["resnet8", "wrn_16_1", "resnet18"])
@pytest.mark.parametrize(("channels", "size"), [(1, 8), (3, 8), (1, 28), (3, 33)])
def test_any_image_size_and_grey(name: str, channels: int, size: int) -> None:
    network = create(name, classes=4, channels=channels, image_size=size).eval()
    output = network(torch.randn(2, channels, size, size))
    assert output.logits.shape == (2, 4)
    assert network.shapes == tuple(tuple(stage.shape[1:]) for stage in output.stages)


def test_digits_have_stages_of_8_4_and_2_pixels() -> None:
    assert create("resnet8", classes=10, channels=1, image_size=8).shapes == ((16, 8, 8), (32, 4, 4), (64, 2, 2))


def test_shapes_leave_modes_and_statistics_alone() -> None:
    network = create("resnet8", classes=10)
    network.bn1.eval()
    before = copy.deepcopy(network.state_dict())
    assert network.widths == (16, 32, 64)
    assert network.training
    assert not network.bn1.training
    assert network.layer1.training
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_evaluating_restores_modes_after_an_error() -> None:
    network = create("resnet8", classes=10)

    def fail() -> None:
        with evaluating(network):
            assert not network.fc.training
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert network.fc.training


def test_a_replaced_layer_is_used_at_once() -> None:
    network = create("resnet8", classes=10).eval()
    images = torch.randn(2, 3, 32, 32)
    assert network(images).logits.shape == (2, 10)
    network.fc = nn.Linear(64, 3)
    assert network(images).logits.shape == (2, 3)


def test_converted_layers_are_used_after_train_or_eval() -> None:
    network = create("resnet8", classes=10)
    network(torch.randn(2, 3, 32, 32))
    nn.SyncBatchNorm.convert_sync_batchnorm(network)
    network.train()
    kinds = {type(m) for part in (*network.stages, network.head) for m in part.modules()}
    assert nn.SyncBatchNorm in kinds
    assert nn.BatchNorm2d not in kinds


def test_a_network_without_a_cut_says_what_is_missing() -> None:
    class Uncut(StagedNetwork):
        spec = NetworkSpec("mine", classes=2)

    with pytest.raises(TypeError, match=r"Uncut does not say how it is cut: write its cut\(\) method"):
        _ = Uncut().stages

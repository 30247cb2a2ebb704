"""A parameter that two learners share is one parameter: in the optimiser, in averages, stopped and resumed."""

import copy
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

import docendo
from docendo.branches import share_stem
from docendo.core import Batch, LossTerm, Networks, Phase
from docendo.engine.moving_average import MovingAverage
from docendo.engine.networks import Learners
from docendo.engine.optim import make_optimizer
from docendo.engine.rehearse import rehearse
from docendo.engine.settings import OptimizerSettings
from docendo.errors import Interrupted
from docendo.losses import cross_entropy
from docendo.methods import RocketLaunching
from docendo.networks import StagedNetwork, create
from tests.conftest import SMALL, StopAt, same, weights


def losses(net: Networks, batch: Batch) -> Iterator[LossTerm]:
    for role in ("student", "scratch"):
        yield LossTerm(role, "labels", "ce", cross_entropy(getattr(net, role)(batch).logits, batch.labels))


@pytest.fixture
def sharing() -> dict[str, StagedNetwork]:
    torch.manual_seed(0)
    networks = {"student": create("resnet8", classes=10), "scratch": create("resnet14", classes=10)}
    share_stem(networks["student"], networks["scratch"])
    return networks


def test_the_optimiser_has_it_once_at_the_first_roles_rate(sharing: dict[str, StagedNetwork]) -> None:
    optimizer = make_optimizer(Learners(sharing, losses), 0.1, OptimizerSettings(), {"scratch": 0.5}, ())
    shared = sharing["student"].conv1.weight
    assert shared is sharing["scratch"].conv1.weight
    groups = [[p is shared for p in group["params"]].count(True) for group in optimizer.param_groups]
    assert (groups, [group["lr"] for group in optimizer.param_groups]) == ([1, 0], [0.1, 0.05])


def test_idle_names_are_those_of_the_first_role(sharing: dict[str, StagedNetwork]) -> None:
    optimizer = make_optimizer(Learners(sharing, losses), 0.1, OptimizerSettings(), {}, ["roles.student.conv1.weight"])
    learning = {id(p) for group in optimizer.param_groups for p in group["params"]}
    everything = {id(p) for network in sharing.values() for p in network.parameters()}
    assert everything - learning == {id(sharing["scratch"].conv1.weight)}


def test_the_rehearsal_counts_it_to_the_first_role(sharing: dict[str, StagedNetwork]) -> None:
    batch = Batch.of(torch.randn(4, 3, 32, 32), torch.arange(4))
    plan = rehearse(Phase("both", sharing, losses), batch)
    own, others = plan.terms
    assert {part.partition(".")[0] for part in own.reaches} == {"student"}
    assert {part for part in others.reaches if part.startswith("student")} == {"student.stage1"}
    assert not plan.idle
    # A role that nobody teaches is idle, but for what it shares.
    silent = rehearse(Phase("one", sharing, lambda net, batch: list(losses(net, batch))[1:]), batch)
    assert "roles.student.conv1.weight" not in silent.idle
    assert "roles.student.fc.weight" in silent.idle


def test_averages_move_it_once(sharing: dict[str, StagedNetwork]) -> None:
    learners = nn.ModuleDict(sharing)
    before = copy.deepcopy(learners.state_dict())
    average = MovingAverage(learners, 0.75)
    with torch.no_grad():
        for tensor in {id(t): t for t in learners.state_dict(keep_vars=True).values()}.values():
            tensor.add_(1)
    average.update(learners)
    found = average.module.state_dict()
    assert found.keys() == before.keys()
    for name, tensor in before.items():
        expected = tensor + (0.25 if tensor.is_floating_point() else 1)
        torch.testing.assert_close(found[name], expected, msg=name)
    assert average.module["student"].conv1 is average.module["scratch"].conv1


@pytest.mark.parametrize("more", [{}, {"ema": 0.5, "optimizer.clip": 1}])
def test_stopped_and_resumed_is_straight_through(more: dict[str, object], tmp_path: Path) -> None:
    def run(out: str, **how: object) -> docendo.Run:
        settings = {**SMALL, **more}
        return docendo.train(
            RocketLaunching(share_stem=True), scratch="resnet8", epochs=2, out=tmp_path / out, set=settings, **how
        )

    straight = run("straight")
    for stop in (2, 4):
        with pytest.raises(Interrupted):
            run("stopped", progress=StopAt(stop), resume=True)
    resumed = run("stopped", resume=True)
    for role in ("student", "scratch"):
        assert same(weights(straight.folder, role), weights(resumed.folder, role))
    assert torch.equal(straight.networks["student"].conv1.weight, straight.networks["scratch"].conv1.weight)

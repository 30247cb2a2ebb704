"""DML: everyone learns from everyone; identical networks have nothing to teach each other."""

import copy
import itertools
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import nn

import docendo
from docendo.core import Batch, Output
from docendo.engine import PhasePlan
from docendo.engine.networks import Learners
from docendo.errors import DocendoError
from docendo.methods import DML
from docendo.networks import create
from tests.conftest import same, weights

SmallRun = Callable[..., docendo.Run]


def plan_of(method: DML, **named: Any) -> PhasePlan:
    (plan,) = docendo.explain(method, set={"data.train_images": 20}, **named).phases
    return plan


def whole(role: str) -> set[str]:
    return {f"{role}.{part}" for part in ("stage1", "stage2", "stage3", "head")}


@pytest.mark.parametrize("updates", ["simultaneous", "alternating"])
@pytest.mark.parametrize("peers", [1, 2])
def test_gradient_matrix(peers: int, updates: Any) -> None:
    plan = plan_of(DML(peers=peers, updates=updates))
    two = {
        "student<labels:ce": whole("student"),
        "student<peer:kl": whole("student"),
        "peer<labels:ce": whole("peer"),
        "peer<student:kl": whole("peer"),
    }
    third = {
        "student<peer2:kl": whole("student"),
        "peer<peer2:kl": whole("peer"),
        "peer2<labels:ce": whole("peer2"),
        "peer2<student:kl": whole("peer2"),
        "peer2<peer:kl": whole("peer2"),
    }
    assert {t.name: set(t.reaches) for t in plan.terms} == (two if peers == 1 else {**two, **third})


@pytest.mark.parametrize(("peers", "share"), [(1, 0.6), (2, 0.3), (3, 0.2)])
def test_divergences_are_averaged_over_the_others(peers: int, share: float) -> None:
    plan = plan_of(DML(peers=peers, kl=0.6))
    assert len(plan.terms) == (peers + 1) ** 2
    assert all(t.weight == (1 if t.name.endswith("ce") else pytest.approx(share)) for t in plan.terms)


class Says(nn.Module):
    """Always says its logits."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, images: torch.Tensor) -> Output:
        return Output(self.logits, self.logits, ())


def gradients(method: DML, networks: Mapping[str, nn.Module], batch: Batch) -> dict[str, list[torch.Tensor]]:
    terms = list(Learners(networks, method.losses)(batch, {}))
    torch.stack([term.weight * term.value for term in terms]).sum().backward()
    return {role: [p.grad for p in net.parameters() if p.grad is not None] for role, net in networks.items()}


@pytest.mark.parametrize(("peers", "temperature"), [(1, 1.0), (2, 1.0), (2, 3.0)])
def test_gradients_are_the_closed_form(peers: int, temperature: float) -> None:
    """The others' outputs are constants: T (softmax(z_k/T) - mean_l softmax(z_l/T)) / B beside the labels' own."""
    generator = torch.Generator().manual_seed(0)
    method = DML(peers=peers, kl=1.7, temperature=temperature)
    networks = {r: Says(torch.randn(4, 6, generator=generator, dtype=torch.float64)) for r in method.cohort}
    batch = Batch.of(torch.zeros(4, 1, 2, 2, dtype=torch.float64), torch.arange(4))
    found = gradients(method, networks, batch)
    soft = {role: (net.logits / temperature).softmax(1).detach() for role, net in networks.items()}
    truth = torch.eye(6, dtype=torch.float64)[:4]
    for role, net in networks.items():
        others = torch.stack([soft[other] for other in soft if other != role]).mean(0)
        expected = net.logits.softmax(1).detach() - truth + 1.7 * temperature * (soft[role] - others)
        torch.testing.assert_close(found[role][0], expected / 4)


def test_identical_networks_agree_and_move_alike() -> None:
    torch.manual_seed(0)
    method, network = DML(peers=2), create("resnet8", classes=10, channels=1, image_size=8)
    networks = {role: copy.deepcopy(network) for role in method.cohort}
    batch = Batch.of(torch.randn(8, 1, 8, 8), torch.arange(8))
    terms = list(Learners(networks, method.losses)(batch, {}))
    assert all(term.value.item() == 0 for term in terms if term.kind == "kl")
    together, alone = gradients(method, networks, batch), gradients(DML(peers=2, kl=0), {**networks}, batch)
    for role in method.cohort:
        assert all(map(torch.equal, together[role], together["student"]))
    assert together.keys() == alone.keys()


def parameters(run: docendo.Run, role: str) -> dict[str, torch.Tensor]:
    found = weights(run.folder, role)
    return {key: tensor for key, tensor in found.items() if "running" not in key and "num_batches" not in key}


ONE_STEP = {"epochs": 1, "set": {"data.train_images": 64}, "peer": "resnet8"}


def test_in_turns_the_later_ones_learn_from_what_the_earlier_ones_have_become(small_run: SmallRun) -> None:
    runs = [
        small_run(DML(peers=2, updates=updates), updates, **ONE_STEP) for updates in ("simultaneous", "alternating")
    ]
    alike = {role: same(*(parameters(run, role) for run in runs)) for role in ("student", "peer", "peer2")}
    assert alike == {"student": True, "peer": False, "peer2": False}


def test_without_divergence_everyone_trains_plainly_in_turns_or_not(small_run: SmallRun) -> None:
    plain = small_run("plain", "plain", epochs=1)
    together, turns = (
        small_run(DML(kl=0, updates=updates), updates, epochs=1, peer="resnet8")
        for updates in ("simultaneous", "alternating")
    )
    assert same(weights(plain.folder, "student"), weights(together.folder, "student"))
    assert same(parameters(together, "peer"), parameters(turns, "peer"))
    assert same(parameters(together, "student"), parameters(turns, "student"))
    # Each network looks at each batch twice when two take turns, and its statistics move twice.
    looks = [weights(run.folder, "student")["bn1.num_batches_tracked"].item() for run in (together, turns)]
    assert looks[1] == 2 * looks[0]


def test_networks_differ_from_the_start_and_all_come_out(small_run: SmallRun) -> None:
    run = small_run(DML(peers=3), epochs=1, peer="resnet8", lr=1e-30)
    assert list(run.networks) == ["student", "peer", "peer2", "peer3"]
    assert run.results["deployed"] == "student"
    for one, other in itertools.combinations(run.networks, 2):
        assert not same(weights(run.folder, one), weights(run.folder, other))
    assert all(about["best_val_epoch"] == 1 for about in run.results["networks"].values())


def test_turns_and_accumulation_do_not_mix(small_run: SmallRun) -> None:
    with pytest.raises(DocendoError, match=r'^phase "mutual learning" updates its learners in turn, which does not go'):
        small_run(DML(updates="alternating"), peer="resnet8", set={"accumulate": 2})

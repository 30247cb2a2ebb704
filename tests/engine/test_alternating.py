"""Learners that take turns: each looks at the batch anew and takes a step on its own terms."""

import itertools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from docendo.core import Batch, LossTerm, Networks, Phase
from docendo.data import DataSet, DataSettings, load
from docendo.engine import rehearse
from docendo.engine.progress import Losses, Silent
from docendo.engine.settings import TrainSettings
from docendo.engine.train import Trainer
from docendo.errors import DocendoError, Interrupted, WiringError
from docendo.losses import cross_entropy, kd
from tests.conftest import StopAt, same

ROLES = ("a", "b", "c")
SEED = 7


@pytest.fixture(scope="module")
def data() -> DataSet:
    return load(DataSettings(train_images=150))


def learners(*, dropout: float = 0.0) -> dict[str, nn.Module]:
    torch.manual_seed(0)
    return {
        role: nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Dropout(dropout), nn.Linear(8, 10))
        for role in ROLES
    }


def mutual(net: Networks, batch: Batch) -> Iterator[LossTerm]:
    """Everyone learns from the labels and, undetached, pulls at the next one."""
    logits = {role: getattr(net, role)(batch.images) for role in ROLES}
    for role, other in zip(ROLES, (*ROLES[1:], ROLES[0]), strict=True):
        yield LossTerm(role, "labels", "ce", cross_entropy(logits[role], batch.labels), 2.0)
        yield LossTerm(role, other, "kd", kd(logits[role], logits[other], detach_target=False), 0.5)


class Kept(Silent):
    """Keeps the running means that are shown after each step."""

    def __init__(self) -> None:
        self.means: list[Mapping[str, float]] = []

    def step(self, epoch: int, step: int, images: int, losses: Losses) -> None:
        self.means.append(losses())


def train(
    data: DataSet, folder: Path, who: dict[str, nn.Module], *, losses: Any = mutual, progress: Any = None, **more: Any
) -> Mapping[str, nn.Module]:
    settings = {"batch_size": 50, "channels_last": False, "accelerator": "cpu", "checkpoint_seconds": 0, **more}
    alternating = settings.pop("alternating", True)
    made = TrainSettings(**settings)
    fabric = Fabric(accelerator="cpu", devices=1)
    trainer = Trainer(fabric, data, made, SEED, folder, progress or Silent(), "docendo train")
    return trainer(Phase("turns", who, losses, alternating=alternating))


def tensors(who: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    return {f"{role} {key}": tensor for role, module in who.items() for key, tensor in module.state_dict().items()}


def batches(data: DataSet, epoch: int) -> Iterator[Batch]:
    return data.train.batches(50, table=data.train.epoch(SEED, "a", epoch))


def by_hand(data: DataSet, who: dict[str, nn.Module], epochs: int) -> list[dict[str, float]]:
    """Train as a plain PyTorch loop would, with an optimiser each; gives the mean losses of each epoch."""
    settings = TrainSettings()
    optimizers = {
        role: torch.optim.SGD(
            module.parameters(), settings.lr, settings.optimizer.momentum, weight_decay=settings.optimizer.weight_decay
        )
        for role, module in who.items()
    }
    means = []
    for epoch in range(epochs):
        sums: dict[str, float] = {}
        for step, batch in enumerate(batches(data, epoch)):
            for role, other in zip(ROLES, (*ROLES[1:], ROLES[0]), strict=True):
                logits = {name: module(batch.images) for name, module in who.items()}
                ce = cross_entropy(logits[role], batch.labels)
                pull = kd(logits[role], logits[other].detach())
                total = 2.0 * ce + 0.5 * pull
                for name, value in ((f"{role}<labels:ce", ce), (f"{role}<{other}:kd", pull), ("total", total)):
                    sums[name] = sums.get(name, 0.0) + value.item()
                optimizers[role].zero_grad()
                total.backward()
                for group in optimizers[role].param_groups:
                    group["lr"] = settings.lr * settings.schedule.factor_at((epoch * 3 + step) / (epochs * 3))
                optimizers[role].step()
        means.append({name: value / 3 for name, value in sums.items()})
    return means


def test_turns_equal_a_loop_written_by_hand_bit_for_bit(data: DataSet, tmp_path: Path) -> None:
    ours, theirs = learners(), learners()
    train(data, tmp_path, ours, epochs=3)
    means = by_hand(data, theirs, 3)
    assert same(tensors(ours), tensors(theirs))
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    for row, expected in zip(rows, means, strict=True):
        assert {k.removeprefix("loss/"): v for k, v in row.items() if k.startswith("loss/")} == pytest.approx(expected)


def test_together_is_something_else(data: DataSet, tmp_path: Path) -> None:
    turns, together = learners(), learners()
    train(data, tmp_path / "turns", turns, epochs=1)
    train(data, tmp_path / "together", together, epochs=1, alternating=False)
    assert not same(tensors(turns), tensors(together))


def test_only_the_learner_whose_turn_it_is_moves(data: DataSet, tmp_path: Path) -> None:
    who = learners()
    snapshots: list[dict[str, Tensor]] = []

    def watching(net: Networks, batch: Batch) -> Iterator[LossTerm]:
        if len(batch.labels) == 50:  # not the rehearsal
            snapshots.append({name: p.detach().clone() for r in ROLES for name, p in who[r].named_parameters(r)})
        yield from mutual(net, batch)

    train(data, tmp_path, who, losses=watching, epochs=1)
    snapshots.append({name: p.detach() for r in ROLES for name, p in who[r].named_parameters(r)})
    assert len(snapshots) == 3 * 3 + 1
    for turn, (before, after) in enumerate(itertools.pairwise(snapshots)):
        moved = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
        assert moved == {ROLES[turn % 3]}


def test_terms_of_others_that_are_not_detached_move_nobody(data: DataSet, tmp_path: Path) -> None:
    """A term of c reaches a and b too; in turns, a and b are then what they are without it."""

    def pulling(net: Networks, batch: Batch) -> Iterator[LossTerm]:
        logits = {role: getattr(net, role)(batch.images) for role in ROLES}
        for role in ROLES:
            yield LossTerm(role, "labels", "ce", cross_entropy(logits[role], batch.labels))
        yield LossTerm("c", "both", "pull", sum((logits["c"] - logits[r]).square().mean() for r in "ab"))

    def alone(net: Networks, batch: Batch) -> Iterator[LossTerm]:
        for term in pulling(net, batch):
            if term.kind == "ce":
                yield term

    ours, theirs = learners(), learners()
    train(data, tmp_path / "pulling", ours, losses=pulling, epochs=2)
    train(data, tmp_path / "alone", theirs, losses=alone, epochs=2)
    for role in "ab":
        assert same(ours[role].state_dict(), theirs[role].state_dict())
    assert not same(ours["c"].state_dict(), theirs["c"].state_dict())


def test_running_means_are_right_in_the_middle_of_an_epoch(data: DataSet, tmp_path: Path) -> None:
    kept = Kept()
    ours, theirs = learners(), learners()
    train(data, tmp_path, ours, epochs=1, lr=1e-30, progress=kept)
    sums: dict[str, float] = {}
    for step, batch in enumerate(batches(data, 0), start=1):
        logits = {name: module(batch.images) for name, module in theirs.items()}
        for role in ROLES:
            name = f"{role}<labels:ce"
            sums[name] = sums.get(name, 0.0) + cross_entropy(logits[role], batch.labels).item()
        for name, value in sums.items():
            assert kept.means[step - 1][name] == pytest.approx(value / step)


@pytest.mark.parametrize("more", [{}, {"ema": 0.5}, {"optimizer": {"clip": 0.5}}, {"optimizer": {"name": "adamw"}}])
@pytest.mark.parametrize("stop", [2, 3, 4])
def test_stopped_and_resumed_is_straight_through(
    stop: int, more: dict[str, Any], data: DataSet, tmp_path: Path
) -> None:
    straight, stopped = learners(dropout=0.3), learners(dropout=0.3)
    train(data, tmp_path / "straight", straight, epochs=2, **more)
    with pytest.raises(Interrupted):
        train(data, tmp_path / "stopped", stopped, epochs=2, progress=StopAt(stop), **more)
    resumed = learners(dropout=0.3)
    train(data, tmp_path / "stopped", resumed, epochs=2, **more)
    assert same(tensors(straight), tensors(resumed))
    first, second = ((tmp_path / name / "metrics.jsonl").read_text() for name in ("straight", "stopped"))
    for a, b in zip(first.splitlines(), second.splitlines(), strict=True):
        assert {k: v for k, v in json.loads(a).items() if "second" not in k} == {
            k: v for k, v in json.loads(b).items() if "second" not in k
        }


def test_accumulating_is_refused(data: DataSet, tmp_path: Path) -> None:
    message = r'^phase "turns" updates its learners in turn, which does not go with accumulate=2: set accumulate=1, or'
    with pytest.raises(DocendoError, match=message):
        train(data, tmp_path, learners(), epochs=1, accumulate=2)


def test_a_learner_with_nothing_to_do_in_its_turn_is_refused(data: DataSet) -> None:
    def losses(net: Networks, batch: Batch) -> Iterator[LossTerm]:
        for term in mutual(net, batch):
            yield term._replace(weight=0.0) if term.role == "b" else term

    batch = next(data.train.batches(4))
    rehearse(Phase("together", learners(), losses), batch)
    with pytest.raises(WiringError, match=r'^phase "turns" updates .* in turn, but no loss term .* says that b learns'):
        rehearse(Phase("turns", learners(), losses, alternating=True), batch)


def test_turns_are_in_the_fingerprint(data: DataSet, tmp_path: Path) -> None:
    train(data, tmp_path, learners(), epochs=1)
    with pytest.raises(DocendoError, match=r"stale, .*alternating was True, is False"):
        train(data, tmp_path, learners(), epochs=1, alternating=False)


def test_copies_take_the_same_first_step_either_way(data: DataSet, tmp_path: Path) -> None:
    """The first to have its turn sees what it would see together; the last sees the others' new weights."""
    turns, together = learners(), learners()
    for name, who, alternating in (("turns", turns, True), ("together", together, False)):

        def detached(net: Networks, batch: Batch) -> Iterator[LossTerm]:
            logits = {role: getattr(net, role)(batch.images) for role in ROLES}
            for role, other in zip(ROLES, (*ROLES[1:], ROLES[0]), strict=True):
                yield LossTerm(role, other, "kd", kd(logits[role], logits[other]))

        train(data, tmp_path / name, who, losses=detached, epochs=1, batch_size=150, alternating=alternating)
    parameters = [{role: list(module.parameters()) for role, module in who.items()} for who in (turns, together)]
    equal = {r: all(map(torch.equal, parameters[0][r], parameters[1][r])) for r in ROLES}
    assert equal == {"a": True, "b": True, "c": False}

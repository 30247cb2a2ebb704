"""What every method promises, by one list: a new method is tested the day it is added."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import docendo
from docendo.errors import Interrupted
from docendo.methods import METHODS, make, name_of, settings_of, values_of
from docendo.networks import create, load
from tests.conftest import StopAt, same, weights

EVERY = pytest.mark.parametrize("method", METHODS)
SmallRun = Callable[..., docendo.Run]


@EVERY
def test_rehearses(method: str) -> None:
    explanation = docendo.explain(method, set={"data.train_images": 200})
    assert explanation.phases
    assert explanation.deployed in explanation.kept
    for phase in explanation.phases:
        assert phase.terms
        assert not phase.idle


@EVERY
def test_learns(method: str, small_run: SmallRun) -> None:
    run = small_run(method, epochs=12)
    rows = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    phases = list(dict.fromkeys(row["phase"] for row in rows))
    for phase in phases:
        total = [row["loss/total"] for row in rows if row["phase"] == phase]
        assert len(total) == 12
        assert total[-1] < 0.8 * total[0]


@EVERY
@pytest.mark.parametrize("step", [1, 3, 4, 6])
def test_stopped_and_resumed_is_straight_through(method: str, step: int, small_run: SmallRun) -> None:
    straight = small_run(method, "straight")
    steps = 8 * len(list((straight.folder / "checkpoints").glob("*.done.pt")))
    for stop in range(step, steps, 7):  # several stops in one run, in every phase
        with pytest.raises(Interrupted, match="Go on with: docendo train"):
            small_run(method, "stopped", progress=StopAt(stop if stop == step else 7), resume=True)
    resumed = small_run(method, "stopped", resume=True)
    for role in straight.networks:
        assert same(weights(straight.folder, role), weights(resumed.folder, role))
    for about in ("test_top1", "val_top1", "best_val_epoch"):
        assert all(
            straight.results["networks"][r][about] == resumed.results["networks"][r][about] for r in run_roles(straight)
        )


def run_roles(run: docendo.Run) -> list[str]:
    return list(run.networks)


@EVERY
def test_settings_round_trip(method: str) -> None:
    made = make(method)
    assert make(method, values_of(made)) == made
    assert name_of(made) == method
    names = {cls.__name__: cls for cls in METHODS.values()}
    assert eval(repr(made), names) == made
    documented = settings_of(type(made))
    assert {s.key for s in documented} == set(values_of(made))
    assert all(s.meaning and s.source and s.range for s in documented)
    assert dataclasses.is_dataclass(made)
    assert made.__dataclass_params__.frozen


@EVERY
def test_deployed_network_works_alone(method: str, small_run: SmallRun) -> None:
    run = small_run(method)
    images = torch.randn(3, 1, 8, 8)
    for role, network in run.networks.items():
        file = run.folder / run.results["networks"][role]["weights"]
        alone = load(file).eval()
        plain = create(alone.spec.architecture, classes=10, channels=1, image_size=8)
        assert weights(run.folder, role).keys() == plain.state_dict().keys()
        assert torch.equal(alone(images).logits, network.to(memory_format=torch.contiguous_format)(images).logits)


@EVERY
def test_same_seed_same_weights_and_another_seed_others(method: str, small_run: SmallRun, tmp_path: Path) -> None:
    torch.manual_seed(1)
    first = small_run(method, "first", seed=3)
    torch.manual_seed(2)
    second, other = small_run(method, "second", seed=3), small_run(method, "other", seed=4)
    role = first.results["deployed"]
    assert same(weights(first.folder, role), weights(second.folder, role))
    assert not same(weights(first.folder, role), weights(other.folder, role))

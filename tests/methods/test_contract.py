"""What every method promises, by one list: a new method is tested the day it is added.

Every method runs once with native and once with cut networks; what it promises is then looked up in that run, or
compared with it.
"""

import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import pytest
import torch

import docendo
from docendo.engine.progress import Losses, Silent
from docendo.errors import DocendoError, Interrupted
from docendo.methods import METHODS, make, name_of, settings_of, values_of
from docendo.methods.taught import Taught
from docendo.networks import create
from docendo.recipes.explanation import Explanation
from tests.conftest import StopAt, same, weights
from tests.tiny import NETWORKS, cast

EVERY = pytest.mark.parametrize("method", METHODS)
LOSSES = [method for method, cls in METHODS.items() if issubclass(cls, Taught) and method not in ("kd", "at")]
"""Methods that differ from kd in their losses alone: they are rehearsed with networks of all kinds, not trained."""
NATIVE_AND_CUT = pytest.mark.parametrize(
    ("method", "kind"),
    [(method, kind) for kind in ("native", "cut") for method in METHODS if kind == "native" or method not in LOSSES],
)
EPOCHS, STEPS = 5, 4
SETTINGS: dict[str, dict[str, Any]] = {"sskd": {"head_fraction": 1}, "pkt": {"weight": 300}}
"""For so short a run: two epochs or more of each phase, to be stopped in; a teacher to whom all images are alike."""
SLOW = {"self-supervision"}
"""Phases in which only a small head learns, on features of a hardly trained teacher (see test_sskd)."""
INSTEAD = {"crd": "loss/student<labels:ce"}
"""What is to fall instead of the total: that of CRD rises while its bank fills with first embeddings (see test_crd)."""


class Trained(NamedTuple):
    run: docendo.Run
    rows: list[dict[str, Any]]

    @property
    def phases(self) -> dict[str, int]:
        """The phases in order, and how many epochs each has."""
        return dict(Counter(row["phase"] for row in self.rows))


Trains = Callable[..., Trained]


@pytest.fixture(scope="module")
def trains(tmp_path_factory: pytest.TempPathFactory) -> Trains:
    """Train a method for some epochs of four steps on 200 digits, in a folder of that name."""
    base = tmp_path_factory.mktemp("contract")

    def train(method: str, kind: str, out: str, seed: int = 3, progress: Any = None, resume: bool = False) -> Trained:
        run = docendo.train(
            method,
            **cast(kind, make(method).roles),
            epochs=EPOCHS,
            seed=seed,
            lr=0.1,
            out=base / f"{method} {kind} {out}",
            set={"data.train_images": 200, "checkpoint_seconds": 0, **SETTINGS.get(method, {})},
            progress=progress or Silent(),
            resume=resume,
        )
        rows = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
        return Trained(run, rows)

    return train


@pytest.fixture(scope="module")
def straight(trains: Trains) -> Callable[[str, str], Trained]:
    """Give the run of a method that goes straight through, trained when it is first asked for."""
    known: dict[tuple[str, str], Trained] = {}

    def give(method: str, kind: str) -> Trained:
        if (method, kind) not in known:
            known[method, kind] = trains(method, kind, "straight")
        return known[method, kind]

    return give


# Who refuses which cast of `tests.tiny`, with what words: a method may need what not every network has.
REFUSED: dict[tuple[str, str], str] = {}


@pytest.mark.parametrize(
    ("method", "kind"),
    [(m, kind) for kind in ("native with cut", "tokens") for m in METHODS if kind == "tokens" or m not in LOSSES],
)
def test_rehearses_or_refuses(method: str, kind: str) -> None:
    def explain() -> Explanation:
        return docendo.explain(method, set={"data.train_images": 200}, **cast(kind, make(method).roles))

    if (method, kind) in REFUSED:
        with pytest.raises(DocendoError, match=REFUSED[method, kind]):
            explain()
        return
    explanation = explain()
    assert explanation.phases
    assert explanation.deployed in explanation.kept
    assert all(phase.terms for phase in explanation.phases)


@NATIVE_AND_CUT
def test_learns(method: str, kind: str, straight: Callable[[str, str], Trained]) -> None:
    trained = straight(method, kind)
    for phase in trained.phases:
        rows = [row for row in trained.rows if row["phase"] == phase]
        total = [row.get(INSTEAD.get(method, ""), row["loss/total"]) for row in rows]
        assert min(total) < (0.999 if phase in SLOW else 0.97) * total[0], phase


class Killed(Exception):
    """The process is gone, with no chance to save."""


class KilledAt(Silent):
    """Kills the run when this step is done, before its checkpoint, or when the phase begins (step 0 of epoch 1)."""

    def __init__(self, phase: str, epoch: int, step: int) -> None:
        self.at, self.name = (phase, epoch, step), ""

    def phase(self, name: str, epochs: int, steps: int, done: int) -> None:
        self.name = name
        self.step(1, 0, 0, dict)

    def step(self, epoch: int, step: int, images: int, losses: Losses) -> None:
        if (self.name, epoch, step) == self.at:
            raise Killed


class StoppedAt(KilledAt):
    """Asks the run, as the user would, to stop after this step."""

    def step(self, epoch: int, step: int, images: int, losses: Losses) -> None:
        if (self.name, epoch, step) == self.at:
            StopAt(1).step(epoch, step, images, losses)


def interruptions(phases: Mapping[str, int], few: bool) -> list[KilledAt]:
    """Give the stops of one run, in order: at every kind of place, and in every phase; or a few."""
    first, *later = phases
    if few:
        return [StoppedAt(phase, 1, 2) for phase in (first, *later[-1:])]
    return [
        KilledAt(first, 1, 1),  # before the first checkpoint
        StoppedAt(first, 1, 2),  # within an epoch
        StoppedAt(first, 1, STEPS),  # at the end of an epoch
        KilledAt(first, 2, 2),  # a step after its checkpoint
        StoppedAt(first, phases[first], STEPS),  # at the end of a phase
        *(KilledAt(phase, 1, 0) for phase in later[:1]),  # between phases
        *(StoppedAt(phase, 2, 1) for phase in later),
        *(KilledAt(phase, phases[phase], STEPS) for phase in later[-1:]),
    ]


@NATIVE_AND_CUT
def test_stopped_and_resumed_is_straight_through(
    method: str, kind: str, straight: Callable[[str, str], Trained], trains: Trains
) -> None:
    expected = straight(method, kind)
    for interruption in interruptions(expected.phases, kind == "cut" or method in LOSSES):
        torch.manual_seed(5)  # what the caller has drawn plays no part
        with pytest.raises((Killed, Interrupted)) as stopped:
            trains(method, kind, "stopped", progress=interruption, resume=True)
        if isinstance(interruption, StoppedAt):
            phase, epoch, step = interruption.at
            assert f'"{phase}", epoch {epoch}, step {step}; all is saved. Go on with: docendo train' in str(
                stopped.value
            )
    found = trains(method, kind, "stopped", resume=True)
    for role in expected.run.networks:
        assert same(weights(expected.run.folder, role), weights(found.run.folder, role))
    timing = ("seconds", "images_per_second")
    assert [{k: v for k, v in row.items() if k not in timing} for row in found.rows] == [
        {k: v for k, v in row.items() if k not in timing} for row in expected.rows
    ]
    assert found.run.results["networks"] == expected.run.results["networks"]


@NATIVE_AND_CUT
def test_deployed_networks_work_alone(method: str, kind: str, straight: Callable[[str, str], Trained]) -> None:
    run = straight(method, kind).run
    images = torch.randn(3, 1, 8, 8)
    for role, network in run.networks.items():
        alone = create(network.spec.architecture, classes=10, channels=1, image_size=8).eval()
        alone.load_state_dict(weights(run.folder, role))  # no tensor missing, no trace of what helped it
        assert torch.equal(alone(images).logits, network(images).logits)


@EVERY
def test_another_seed_gives_other_weights(method: str, straight: Callable[[str, str], Trained], trains: Trains) -> None:
    first, other = straight(method, "native"), trains(method, "native", "other", seed=4)
    for role in first.run.networks:
        assert not same(weights(first.run.folder, role), weights(other.run.folder, role))


@EVERY
def test_settings_round_trip(method: str) -> None:
    made = make(method)
    assert make(method, values_of(made)) == made
    assert name_of(made) == method
    names = {cls.__name__: cls for cls in METHODS.values()}
    assert eval(repr(made), names) == made
    documented = settings_of(type(made))
    optional = {s.key for s in documented if s.default == "none"}
    assert {s.key for s in documented} - optional == set(values_of(made)) - optional
    assert all(s.meaning and s.source and s.range for s in documented)
    assert dataclasses.is_dataclass(made)
    assert made.__dataclass_params__.frozen


def test_every_role_has_a_tiny_network() -> None:
    for method in METHODS:
        assert set(make(method).roles) <= set(NETWORKS["native"]), f"give tests/tiny.py a network for {method}'s roles"

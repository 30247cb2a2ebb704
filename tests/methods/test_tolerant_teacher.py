"""Tolerant teacher and born-again networks: who learns from whom, generation by generation."""

import copy
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import docendo
from docendo.core import Batch, Phase
from docendo.data import DataSettings
from docendo.data import load as load_data
from docendo.engine import PhasePlan, rehearse
from docendo.engine.networks import Learners, answer, freeze
from docendo.errors import DocendoError
from docendo.methods import BAN, ConfidencePenalty, LabelSmoothing, TolerantTeacher
from docendo.networks import create, load
from tests.conftest import Said, same, weights

SmallRun = Callable[..., docendo.Run]

ALL = {"student.stage1", "student.stage2", "student.stage3", "student.head"}
LATER = {"student<labels:ce": ALL, "student<teacher:kd": ALL}
TOLERANT = {"student<labels:ce": ALL, "student<student:tolerance": ALL}
SMOOTHED = {"student<labels:ce": ALL, "student<labels:smoothing": ALL}
PENALISED = {"student<labels:ce": ALL, "student<student:confidence": ALL}


def phases(method: Any) -> tuple[PhasePlan, ...]:
    return docendo.explain(method, set={"data.train_images": 20}).phases


def matrix(plan: PhasePlan) -> dict[str, set[str]]:
    return {term.name: set(term.reaches) for term in plan.terms}


@pytest.mark.parametrize(
    ("switches", "expected"),
    [
        ({}, TOLERANT),
        ({"primary": "label"}, TOLERANT),
        ({"divisor": "k"}, TOLERANT),
        ({"K": 2, "eta": 0.4}, TOLERANT),
        ({"K": 10, "primary": "label", "divisor": "k"}, TOLERANT),
        ({"eta": 1}, TOLERANT),
        ({"eta": 1, "K": 20}, TOLERANT),
        ({"first": "label_smoothing"}, SMOOTHED),
        ({"first": "confidence_penalty"}, PENALISED),
        ({"first": "confidence_penalty", "K": 3, "primary": "label"}, PENALISED),
    ],
)
def test_gradient_matrix(switches: dict[str, Any], expected: dict[str, set[str]]) -> None:
    first, *later = phases(TolerantTeacher(**switches, lam=0.3, temperature=2))
    assert (first.name, matrix(first), dict(first.reads)) == ("generation 0", expected, {})
    for m, plan in enumerate(later, start=1):
        assert (plan.name, matrix(plan)) == (f"generation {m}", LATER)
        assert plan.reads == {"teacher": {"logits"}}
        assert {t.name: t.weight for t in plan.terms} == {"student<labels:ce": 0.3, "student<teacher:kd": 0.7}
    assert not any(plan.idle for plan in (first, *later))


def test_weights_of_the_first_generation() -> None:
    terms = {term.name: term.weight for term in phases(TolerantTeacher(eta=0.4))[0].terms}
    assert terms == {"student<labels:ce": 0.4, "student<student:tolerance": 0.6}


@pytest.mark.parametrize("generations", [0, 1, 3])
@pytest.mark.parametrize("method", [TolerantTeacher, BAN])
def test_any_number_of_generations(method: Any, generations: int) -> None:
    plan = docendo.explain(method(generations=generations), epochs=3, set={"data.train_images": 20})
    assert [phase.name for phase in plan.phases] == [f"generation {m}" for m in range(generations + 1)]
    assert plan.epochs == (3,) * (generations + 1)
    assert plan.kept == ("student", *(f"generation{m}" for m in range(generations)))
    assert {phase.parameters["student"] for phase in plan.phases} == {77_754}  # nothing is added to a network


class Kept:
    """Keeps the phases that a method asks for, and what the networks were before them; trains nothing."""

    def __init__(self) -> None:
        self.phases: list[Phase] = []
        self.first: list[Mapping[str, torch.Tensor]] = []

    def __call__(self, phase: Phase) -> Mapping[str, nn.Module]:
        self.phases.append(phase)
        self.first.append(copy.deepcopy(phase.learners["student"].state_dict()))
        return phase.learners


class Builds:
    """Makes networks as a run does, seeded by role and number."""

    def __call__(self, role: str, *, frozen: bool = False, number: int = 0) -> Any:
        torch.manual_seed(number)
        return create("resnet8", classes=10, channels=1, image_size=8)

    def is_trained(self, role: str) -> bool:
        return False


def test_every_generation_starts_afresh_and_is_taught_by_the_one_before() -> None:
    kept = Kept()
    networks = TolerantTeacher(generations=3).run(kept, Builds())
    assert list(networks) == ["student", "generation0", "generation1", "generation2"]
    learners = [phase.learners["student"] for phase in kept.phases]
    assert learners == [networks[f"generation{m}"] for m in range(3)] + [networks["student"]]
    assert [dict(phase.frozen) for phase in kept.phases] == [{}, *({"teacher": n} for n in learners[:-1])]
    assert not any(same(a, b) for i, a in enumerate(kept.first) for b in kept.first[:i])
    streams = [phase.stream for phase in kept.phases]
    assert streams[0] is None  # the first sees what plain training sees
    assert len(set(streams)) == 4
    assert {phase.fraction for phase in kept.phases} == {1.0}


def test_a_run_of_generations(small_run: SmallRun) -> None:
    run = small_run(TolerantTeacher())
    rows = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    rates = [row["lr"] for row in rows]
    assert rates[:2] == rates[2:4] == rates[4:]  # each has the whole schedule
    files = [weights(run.folder, role) for role in ("generation0", "generation1", "student")]
    assert not any(same(a, b) for i, a in enumerate(files) for b in files[:i])
    # The frozen generation stayed as it was when its own phase ended, buffers included.
    for m in (0, 1):
        done = next((run.folder / "checkpoints").glob(f"*generation-{m}.done.pt"))
        then = torch.load(done, weights_only=True)["learners"]["student"]
        assert all(torch.equal(then[name], tensor) for name, tensor in files[m].items())


def test_a_strict_first_generation_is_plain_training(small_run: SmallRun) -> None:
    plain = weights(small_run("plain", "plain").folder, "student")
    assert same(plain, weights(small_run(TolerantTeacher(eta=1, generations=0), "tolerant").folder, "student"))


def test_tolerance_changes_the_first_generation_and_each_comparator_is_itself(small_run: SmallRun) -> None:
    plain = weights(small_run("plain", "plain").folder, "student")
    tolerant = weights(small_run(TolerantTeacher(generations=0), "tolerant").folder, "student")
    assert not same(plain, tolerant)
    for first, method in {"label_smoothing": LabelSmoothing(0.7), "confidence_penalty": ConfidencePenalty(0.7)}.items():
        held = TolerantTeacher(first=first, eta=0.7, generations=0)  # type: ignore[arg-type]
        alone = weights(small_run(method, f"{first} alone").folder, "student")
        assert same(alone, weights(small_run(held, f"{first} held").folder, "student"))
        assert not same(alone, tolerant)


def test_given_weights_begin_generation_0_only(small_run: SmallRun) -> None:
    given = small_run("plain", "plain").folder / "student.safetensors"
    kept = Kept()

    class Given(Builds):
        def __call__(self, role: str, *, frozen: bool = False, number: int = 0) -> Any:
            return super().__call__(role, number=number) if number else load(given)

    BAN(generations=1).run(kept, Given())
    assert same(kept.first[0], weights(given.parent, "student"))
    assert not same(kept.first[1], kept.first[0])


def digits(count: int = 16) -> Batch:
    data = load_data(DataSettings(train_images=count))
    return next(data.train.batches(count))


@pytest.fixture
def later() -> Phase:
    """Give generation 1 of an untrained chain."""
    kept = Kept()
    TolerantTeacher(generations=1).run(kept, Builds())
    return kept.phases[1]


def test_the_previous_generation_gets_no_gradient_and_its_buffers_do_not_move(later: Phase) -> None:
    batch = digits()
    freeze(later.frozen)
    teacher = later.frozen["teacher"]
    before = copy.deepcopy(teacher.state_dict())
    learners = Learners(later.learners, later.losses).train()
    total = sum(
        t.weight * t.value for t in learners(batch, answer(later.frozen, {"teacher": frozenset({"logits"})}, batch))
    )
    total.backward()  # type: ignore[union-attr]
    assert all(p.grad is None for p in teacher.parameters())
    assert all(p.grad is not None for p in learners.parameters())
    assert same(before, teacher.state_dict())


def test_equal_generations_have_nothing_to_teach(later: Phase) -> None:
    batch = digits()
    learner = later.learners["student"]
    freeze(later.frozen)
    learner.load_state_dict(later.frozen["teacher"].state_dict())
    answers = answer(later.frozen, {"teacher": frozenset({"logits"})}, batch)
    values = {t.kind: t.value.item() for t in Learners({"student": learner}, later.losses).eval()(batch, answers)}
    assert values["kd"] == pytest.approx(0, abs=1e-7)
    assert values["ce"] > 0.1


def test_tolerance_alone_reaches_the_whole_network() -> None:
    torch.manual_seed(0)
    network = create("resnet8", classes=10, channels=1, image_size=8)
    terms = {t.name: t for t in rehearse(Phase("p", {"student": network}, TolerantTeacher().losses), digits()).terms}
    assert set(terms["student<student:tolerance"].reaches) == ALL
    assert 0 <= terms["student<student:tolerance"].value < 0.5


@pytest.mark.parametrize(
    ("switches", "limit"),
    [
        ({"K": 5, "eta": 0.5556}, "0.556"),
        ({"K": 3, "eta": 0.6}, "0.600"),
        ({"K": 7, "eta": 0.9}, "0.538"),
        ({"K": 5, "eta": 0.55, "divisor": "k"}, "0.545"),
    ],
)
def test_too_little_tolerance_is_said(switches: dict[str, Any], limit: str, small_run: SmallRun) -> None:
    (note,) = TolerantTeacher(**switches).notes
    assert note.startswith(f"warning: with eta={switches['eta']:g} and K={switches['K']} a fitted first generation is")
    assert note.endswith(f"set eta below {limit}")


@pytest.mark.parametrize(
    "switches", [{}, {"eta": 0.5555}, {"eta": 1}, {"eta": 0.55, "K": 3}, {"eta": 0.9, "first": "label_smoothing"}]
)
def test_enough_tolerance_is_not_talked_about(switches: dict[str, Any]) -> None:
    assert TolerantTeacher(**switches).notes == ()


def test_the_note_reaches_the_user(small_run: SmallRun) -> None:
    said, method = Said(), TolerantTeacher(eta=0.7, generations=0)
    small_run(method, epochs=1, progress=said)
    assert method.notes[0] in said.lines
    assert docendo.explain(method, set={"data.train_images": 20}).notes == method.notes
    assert docendo.explain("plain", set={"data.train_images": 20}).notes == ()


def test_more_plausible_classes_than_classes_are_refused_before_anything_trains(
    small_run: SmallRun, tmp_path: Path
) -> None:
    with pytest.raises(DocendoError, match=r"looks at K=11 classes, but there are 10: set K from 2 to 10$"):
        small_run(TolerantTeacher(K=11))
    assert not (tmp_path / "run").exists()
    small_run(TolerantTeacher(K=11, first="label_smoothing", generations=0), epochs=1)

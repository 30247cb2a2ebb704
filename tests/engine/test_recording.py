"""Recorded steps do what steps do, or are not used, which is said.

A tape stands for CUDA graphs here (tests/engine/tape.py); with a GPU, tests/engine/test_gpu.py asks them themselves.
"""

import csv
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.strategies.single_device import SingleDeviceStrategy
from torch import Tensor

import docendo
from docendo.core import Batch, Output
from docendo.data import DataSettings, load
from docendo.engine import TrainSettings, train
from docendo.engine.recording import CannotRecord, RecordedStep, Work, recorder_for
from docendo.errors import Interrupted
from docendo.methods import METHODS, make
from docendo.networks import create, save
from tests.conftest import SMALL, Said, StopAt, losses, same, weights
from tests.engine.tape import NotWaiting, Tape
from tests.tiny import cast

Train = Callable[..., docendo.Run]
RECORDED = "the step is recorded, and replayed from here on"
RISING = ("dkd", "reviewkd")
"""Methods whose weights rise at first."""


class Blank(Tape):
    """Records nothing: what is trained with it is trained by steps as they are, with a recordable optimiser."""

    def record(self, work: Work) -> Work:
        raise CannotRecord("the tape is blank")


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[Tape], None]:
    """Let steps be recorded on a CPU."""
    return lambda tape: monkeypatch.setattr(train, "recorder_for", lambda *run, alone: tape)


@pytest.fixture
def tape(use: Callable[[Tape], None]) -> Tape:
    tape = Tape()
    use(tape)
    return tape


@pytest.fixture
def recorded(small_run: Train) -> Train:
    """Train as `small_run` does, with six equal steps an epoch and a smaller one, and record them."""

    def run(method: Any, out: str = "run", **more: Any) -> docendo.Run:
        return small_run(method, out, batch_size=32, **{**more, "set": {"cuda_graphs": True, **more.get("set", {})}})

    return run


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_recorded_and_learns_what_it_learns(
    method: str, recorded: Train, use: Callable[[Tape], None]
) -> None:
    sets = {"warmup": 0} if method in RISING else {}
    options: dict[str, Any] = {"epochs": 1, "set": sets, **cast("native", make(method).roles)}
    use(Blank())
    plain = recorded(method, out="plain", **options)
    tape, said = Tape(), Said()
    use(tape)
    run = recorded(method, out="recorded", progress=said, **options)
    with (run.folder / "metrics.csv").open() as file:
        phases = {row["phase"] for row in csv.DictReader(file)}
    assert said.lines.count(RECORDED) == len(phases)
    assert not [line for line in said.lines if "not recorded" in line]
    assert tape.replays > 2
    assert losses(run) == pytest.approx(losses(plain), rel=1e-6)  # a CPU may add up in another order in other memory
    for role in plain.networks:
        torch.testing.assert_close(weights(run.folder, role), weights(plain.folder, role))


@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer.name": "adamw", "optimizer.clip": 1.0, "schedule.name": "cosine"},
        {"optimizer.name": "nesterov", "ema": 0.9, "data.mixup": 0.2},
        {"precision": "bf16-mixed", "teacher_memory": "off"},
        {"optimizer.momentum": 0.0},
    ],
)
def test_with_other_settings_too(
    settings: Mapping[str, Any], recorded: Train, use: Callable[[Tape], None], small_run: Train
) -> None:
    teacher = small_run("plain", out="t", student="tiny_wide", epochs=1).folder / "student.safetensors"
    options: dict[str, Any] = {"teacher": teacher, "student": "tiny", "set": settings}
    use(Blank())
    plain = recorded("kd", out="plain", **options)
    tape = Tape()
    use(tape)
    run = recorded("kd", out="recorded", **options)
    assert tape.replays == 2 + 7
    assert losses(run) == pytest.approx(losses(plain), rel=1e-6)
    torch.testing.assert_close(weights(run.folder, "student"), weights(plain.folder, "student"))
    unlike = small_run("kd", out="unlike", batch_size=32, **options)
    assert losses(run) == pytest.approx(losses(unlike), rel=1e-2 if "precision" in settings else 1e-5)


def test_stopped_and_resumed_is_straight_through(recorded: Train, tape: Tape) -> None:
    options: dict[str, Any] = {**cast("native", ("student", "peer")), "set": {"optimizer.name": "adamw"}}
    straight = recorded("dml", out="straight", **options)
    assert tape.replays
    with pytest.raises(Interrupted):
        recorded("dml", out="stopped", progress=StopAt(7), **options)
    resumed = recorded("dml", out="stopped", resume=True, **options)
    assert losses(resumed) == losses(straight)
    assert same(weights(straight.folder, "student"), weights(resumed.folder, "student"))


def test_stopped_within_an_epoch_where_nothing_was_recorded(
    recorded: Train, use: Callable[[Tape], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a run goes on on another machine, which has a GPU."""

    def none(*run: Any, alone: bool) -> Tape:
        raise CannotRecord("there is no GPU")

    options: dict[str, Any] = {**cast("native", ("student", "peer")), "set": {"optimizer.name": "adamw"}}
    monkeypatch.setattr(train, "recorder_for", none)
    straight = recorded("dml", out="straight", **options)
    with pytest.raises(Interrupted, match="epoch 1, step 3"):
        recorded("dml", out="stopped", progress=StopAt(3), **options)
    tape = Tape()
    use(tape)
    resumed = recorded("dml", out="stopped", resume=True, **options)
    assert tape.replays
    assert losses(resumed) == pytest.approx(losses(straight), rel=1e-4)


def test_a_teacher_that_was_trained_on_other_images(recorded: Train, tape: Tape, tmp_path: Path) -> None:
    network = create("tiny_wide", classes=10, channels=1, image_size=8)
    save(network, tmp_path / "t.safetensors", class_names=None, mean=(0.5,), std=(0.25,), role="teacher")
    said = Said()
    sets = {"teacher_memory": "off"}
    recorded("kd", teacher=tmp_path / "t.safetensors", student="tiny", progress=said, set=sets)
    assert RECORDED in said.lines


def test_seeds_side_by_side(recorded: Train, tape: Tape, small_run: Train, tmp_path: Path) -> None:
    teacher = small_run("plain", out="t", student="tiny_wide", epochs=1).folder / "student.safetensors"
    options: dict[str, Any] = {"teacher": teacher, "student": "tiny"}
    off = {"teacher_memory": "off", "cuda_graphs": True}
    runs = docendo.train_seeds(
        "kd", seeds=(0, 5), epochs=2, batch_size=32, out=tmp_path / "seeds", set={**SMALL, **off}, **options
    )
    assert tape.replays == 2 * (2 + 7)
    for run in runs:
        seed = run.results["seed"]
        alone = recorded("kd", out=f"alone-{seed}", seed=seed, set={"teacher_memory": "off"}, **options)
        assert losses(run) == pytest.approx(losses(alone), rel=1e-4)


AUGMENTED: list[dict[str, Any]] = [
    {"augment": "shift_flip"},
    {"augment": "shift_flip", "pad_mode": "reflect"},
    {"augment": "resized_crop"},
    {"cutout": 3},
    {"cutout": 3, "pool": 4},
    {"mixup": 0.2, "cutmix": 1.0},
]


@pytest.mark.parametrize("how", AUGMENTED)
def test_images_in_memory_become_batches_without_waiting(how: dict[str, Any]) -> None:
    images = load(DataSettings(train_images=200, **how)).train
    batches = images.batches(16, table=images.epoch(0, "student", 0))
    next(batches)  # an epoch's order is brought to the device as a whole, and constants once
    with NotWaiting():
        assert len([*batches]) == 12


Step = Callable[[Tensor, Batch], None]


def steps(step: Step, *, recorded: bool) -> tuple[Tensor, list[str]]:
    """Make ten steps of changing batches; give what they changed, and what was said."""
    changed, said = torch.ones(3), []
    generator = torch.Generator().manual_seed(0)
    batches = [Batch.of(torch.rand(4, 3, 2, 2, generator=generator), torch.arange(4)) for _ in range(10)]

    def make(batch: Batch, known: Any) -> None:
        step(changed, batch)

    made = RecordedStep(make, lambda: {"weights": [changed]}, lambda: None, Tape(), said.append)
    for i, batch in enumerate(batches):
        (made if recorded else make)(batch._replace(progress=i / 10), {})
    return changed, said


def test_weights_that_creep_are_noticed() -> None:
    said: list[str] = []
    changed, made = torch.ones(3), []

    def creeping(batch: Batch, known: Any) -> list[float]:
        made.append(1.0)
        weight = min(1.0, 0.5 + len(made) / 10_000)  # far less a step than a replay may differ by
        changed.add_(batch.images.mean() * weight)
        return [weight]

    learn = RecordedStep(creeping, lambda: {"weights": [changed]}, lambda: None, Tape(), said.append)
    for _ in range(8):
        learn(Batch.of(torch.rand(2, 1, 1, 1), torch.arange(2)), {})
    assert said == ["steps are not recorded: weights of loss terms change from step to step"]
    assert len(made) == 8


def test_answers_are_told_apart_by_role_in_whatever_order_they_come() -> None:
    seen = torch.zeros(2)

    def step(batch: Batch, known: Any) -> None:
        seen.copy_(torch.stack([known["a"].logits.sum(), known["b"].logits.sum()]))

    learn = RecordedStep(step, lambda: {"weights": [seen]}, lambda: None, Tape(), lambda text: None)
    for i in range(1, 9):
        answers = {role: Output(torch.full((2, 1), float(n)), None, ()) for role, n in (("a", i), ("b", -i))}  # type: ignore
        learn(Batch.of(torch.rand(2, 1, 1, 1), torch.arange(2)), dict(reversed(answers.items())) if i > 5 else answers)
        assert seen.tolist() == [2 * i, -2 * i]


def mean(changed: Tensor, batch: Batch) -> None:
    changed.add_(batch.images.mean())


def waits(changed: Tensor, batch: Batch) -> None:
    changed.add_(batch.images.mean().item())


def chooses(changed: Tensor, batch: Batch) -> None:
    changed.add_(batch.images[batch.images > 0.5].mean())


def follows(changed: Tensor, batch: Batch) -> None:
    changed.add_(batch.images.mean() * batch.progress)


class Counts:
    def __init__(self) -> None:
        self.steps = 0

    def __call__(self, changed: Tensor, batch: Batch) -> None:
        self.steps += 1
        changed.add_(batch.images.mean() * self.steps)


class Remembers:
    """Is right once: the batch before the recording is the one before the first replay."""

    def __init__(self) -> None:
        self.last = torch.zeros(1)

    def __call__(self, changed: Tensor, batch: Batch) -> None:
        changed.add_(self.last.mean())
        self.last = batch.images.clone()


def test_a_pure_step_is_replayed() -> None:
    (there, said), (here, _) = steps(mean, recorded=True), steps(mean, recorded=False)
    assert said == [RECORDED]
    assert torch.equal(there, here)


@pytest.mark.parametrize(
    ("step", "why"),
    [
        (waits, "_local_scalar_dense is not permitted when stream is capturing"),
        (chooses, "index is not permitted when stream is capturing"),
        (follows, "weights of loss terms follow the progress of the phase"),
    ],
)
def test_what_cannot_be_repeated_is_said_and_made_as_it_is(step: Step, why: str) -> None:
    here, _ = steps(step, recorded=False)
    there, said = steps(step, recorded=True)
    assert said == [f"steps are not recorded: {why}"]
    assert torch.equal(there, here)


def test_each_kind_of_what_changes_is_looked_at() -> None:
    """Beside huge whole numbers, infinite ones and large ones, each has its own say."""
    groups = {
        "weights": [torch.full((2,), 1e3), torch.zeros(2)],
        "running": [torch.zeros(2)],
        "counted": [torch.tensor(2**62)],
        "losses": [torch.tensor([float("inf"), 0.0])],
    }
    batches = [Batch.of(torch.rand(2, 1, 1, 1), torch.arange(2)) for _ in range(8)]

    def step(wrong: str, made: list[int], batch: Batch, known: Any) -> None:
        made.append(len(made))  # which a recording does not do
        for name, (*_, tensor) in groups.items():
            amount = len(made) if name == wrong else 1
            tensor.add_(amount if name == "counted" else batch.images.mean() * amount)

    for wrong in groups:
        said: list[str] = []
        learn = RecordedStep(partial(step, wrong, []), lambda: groups, lambda: None, Tape(), said.append)
        for batch in batches:
            learn(batch, {})
        assert said == [f"steps are not recorded: a replay changed {wrong} in another way than the step itself"]


@pytest.mark.parametrize("stateful", [Counts, Remembers])
def test_what_python_keeps_from_step_to_step_is_found_out(stateful: type) -> None:
    _, said = steps(stateful(), recorded=True)
    assert said == ["steps are not recorded: a replay changed weights in another way than the step itself"]


@pytest.mark.parametrize("method", RISING)
def test_weights_that_rise_are_noticed_in_a_run(method: str, recorded: Train, tape: Tape) -> None:
    said = Said()
    recorded(method, progress=said, **cast("native", ("teacher", "student")))
    assert "steps are not recorded: weights of loss terms follow the progress of the phase" in said.lines
    assert tape.replays == 2 + 7, "of the teacher, which learns before"


def test_a_cpu_is_told_at_the_beginning(small_run: Train) -> None:
    said = Said()
    plain = small_run("plain", out="plain", student="tiny")
    run = small_run("plain", out="asked", student="tiny", progress=said, set={"cuda_graphs": True})
    assert "steps are not recorded: a cpu knows no CUDA graphs" in said.lines
    assert losses(run) == losses(plain)


@pytest.mark.parametrize(
    ("device", "processes", "settings", "why"),
    [
        ("mps", 1, {}, "a mps knows no CUDA graphs"),
        ("cuda", 2, {}, "several processes wait for each other in a step"),
        ("cuda", 1, {"accumulate": 2}, "accumulate=2 makes steps of more than one kind"),
        (
            "cuda",
            1,
            {"precision": "16-mixed"},
            "precision 16-mixed looks at each step whether its gradients are finite",
        ),
    ],
)
def test_where_none_are_recorded(device: str, processes: int, settings: dict[str, Any], why: str) -> None:
    strategy = SingleDeviceStrategy() if processes == 1 else DDPStrategy()
    fabric: Any = SimpleNamespace(device=torch.device(device), strategy=strategy)
    with pytest.raises(CannotRecord, match=why):
        recorder_for(fabric, TrainSettings(**settings))

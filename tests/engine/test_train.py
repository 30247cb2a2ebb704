"""The trainer: frozen stays frozen, settings act, trouble is told, nothing is lost."""

import json
import math
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, Literal, cast

import pytest
import torch
from torch import nn

import docendo
from docendo.core import Batch, Build, LossTerm, Networks, Phase, Train
from docendo.engine import ScheduleSettings
from docendo.engine.loop import Loop
from docendo.engine.progress import Silent
from docendo.engine.random_state import set_rng_state
from docendo.engine.step import Step
from docendo.errors import DocendoError, Interrupted
from docendo.losses import cross_entropy, kd
from docendo.methods import KD
from tests.conftest import Said, StopAt, losses, same, weights

SmallRun = Callable[..., docendo.Run]


def rows(run: docendo.Run) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]


@dataclass(frozen=True)
class Untaught:
    """KD from whatever the teacher is, trained or not."""

    statistics: Literal["running", "batch"] = "running"
    roles: ClassVar[tuple[str, ...]] = ("teacher", "student")

    def run(self, train: Train, build: Build) -> Mapping[str, nn.Module]:
        teacher, student = build("teacher"), build("student")
        train(
            Phase("student", {"student": student}, self.losses, {"teacher": teacher}, frozen_statistics=self.statistics)
        )
        assert not any(p.requires_grad for p in teacher.parameters()) or not student.bn1.num_batches_tracked
        return {"student": student, "teacher": teacher}

    def losses(self, net: Networks, batch: Batch) -> Iterator[LossTerm]:
        yield LossTerm("student", "teacher", "kd", kd(net.student(batch).logits, net.teacher(batch).logits))


@pytest.mark.parametrize("statistics", ["running", "batch"])
def test_frozen_is_frozen(statistics: Literal["running", "batch"], small_run: SmallRun, tmp_path: Path) -> None:
    given = small_run("plain", "given", teacher="resnet8", set={"role": "teacher"}).folder / "teacher.safetensors"
    run = small_run(Untaught(statistics), teacher=given)
    before, after = weights(given.parent, "teacher"), weights(run.folder, "teacher")
    changed = {key for key, tensor in before.items() if not torch.equal(tensor, after[key])}
    moved = {key for key in before if "running" in key or "num_batches" in key}
    assert changed == (moved if statistics == "batch" else set())


def test_zero_weighted_transfer_is_plain(small_run: SmallRun) -> None:
    kd_off, plain = small_run(KD(ce=1, kd=0), "kd"), small_run("plain", "plain")
    assert same(weights(kd_off.folder, "student"), weights(plain.folder, "student"))


@pytest.mark.parametrize(
    "sets",
    [
        {"optimizer.name": "nesterov"},
        {"optimizer.name": "adamw", "optimizer.weight_decay": "0.05"},
        {"schedule.name": "cosine", "schedule.warmup": 0.25},
        {"schedule.name": "one_cycle"},
        {"optimizer.clip": 0.5},
        {"ema": 0.5},
        {"accumulate": 3},
        {"channels_last": False},
    ],
    ids=str,
)
def test_settings_act_and_resume_bit_for_bit(sets: dict[str, Any], small_run: SmallRun) -> None:
    default, straight = small_run("plain", "default"), small_run("plain", "straight", set=sets)
    if "channels_last" not in sets:
        assert not same(weights(default.folder, "student"), weights(straight.folder, "student"))
    with pytest.raises(Interrupted):
        small_run("plain", "stopped", set=sets, progress=StopAt(2))
    resumed = small_run("plain", "stopped", set=sets, resume=True)
    assert same(weights(straight.folder, "student"), weights(resumed.folder, "student"))


@pytest.mark.parametrize(
    ("precision", "sets"), [("64-true", {}), ("bf16-mixed", {}), ("bf16-true", {}), ("bf16-true", {"ema": 0.5})]
)
def test_precisions_train_and_resume(precision: str, sets: dict[str, Any], small_run: SmallRun) -> None:
    straight = small_run("kd", "straight", precision=precision, set=sets)
    with pytest.raises(Interrupted):
        small_run("kd", "stopped", precision=precision, set=sets, progress=StopAt(11))
    resumed = small_run("kd", "stopped", precision=precision, set=sets, resume=True)
    assert same(weights(straight.folder, "student"), weights(resumed.folder, "student"))
    assert all(tensor.dtype in (torch.float32, torch.int64) for tensor in weights(straight.folder, "student").values())


def test_looks_are_not_put_off_by_accumulation(small_run: SmallRun, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []
    ready, look = Loop.__post_init__, Loop._look

    def seldom(loop: Loop) -> None:
        ready(loop)
        loop.look_every = 3  # as on a GPU, where it is 50

    def noting(loop: Loop, epoch: int, step: int) -> None:
        looked.append(step + 1)
        look(loop, epoch, step)

    monkeypatch.setattr(Loop, "__post_init__", seldom)
    monkeypatch.setattr(Loop, "_look", noting)
    small_run("plain", epochs=1, batch_size=16, set={"accumulate": 2, "data.train_images": 176})
    # Every 2 batches there is a step; a look is due at 3, 6 and 9, at the end, and when that has been evaluated.
    assert looked == [4, 6, 10, 11, 11]


@dataclass(frozen=True)
class Turns:
    """A student that learns for half of its time, and a peer, in turn or not, that begins later."""

    alternating: bool = False
    roles: ClassVar[tuple[str, ...]] = ("student", "peer")

    def run(self, train: Train, build: Build) -> Mapping[str, nn.Module]:
        networks = {role: build(role) for role in self.roles}
        return train(Phase("both", networks, self.losses, alternating=self.alternating))

    @staticmethod
    def losses(net: Networks, batch: Batch) -> Iterator[LossTerm]:
        student, peer = net.student(batch).logits, net.peer(batch).logits
        fading, rising = max(0.0, 1 - 2 * batch.progress), 2 * max(0.0, batch.progress - 0.5)
        yield LossTerm("student", "labels", "ce", cross_entropy(student, batch.labels), fading)
        yield LossTerm("peer", "labels", "ce", cross_entropy(peer, batch.labels), rising)


@pytest.mark.parametrize("alternating", [False, True])
def test_for_a_while_no_term_may_have_weight(alternating: bool, small_run: SmallRun) -> None:
    run = small_run(Turns(alternating), student="resnet8", peer="resnet8", set={"optimizer.weight_decay": 0.0})
    assert all(math.isfinite(loss) for loss in losses(run))


class StopWhenEvaluated(Silent):
    """Asks to stop when the last epoch of a phase is at its end."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def epoch(self, row: Mapping[str, Any]) -> None:
        if row["epoch"] == self.epochs:
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_wish_to_stop_between_two_phases_is_heard(small_run: SmallRun) -> None:
    options: dict[str, Any] = {"teacher": "resnet8", "student": "resnet8"}
    straight = small_run("kd", "straight", **options)
    with pytest.raises(Interrupted, match='stopped by SIGTERM in phase "teacher", epoch 2, step 4; all is saved'):
        small_run("kd", "stopped", progress=StopWhenEvaluated(2), **options)
    resumed = small_run("kd", "stopped", resume=True, **options)
    assert same(weights(straight.folder, "student"), weights(resumed.folder, "student"))
    assert losses(straight) == losses(resumed)


def test_accumulated_batches_are_one_large_one(small_run: SmallRun) -> None:
    """In float64 and without BatchNorm's batch statistics in the way: two batches of 32 against one of 64."""

    @dataclass(frozen=True)
    class Linear:
        roles: ClassVar[tuple[str, ...]] = ("student",)

        def run(self, train: Train, build: Build) -> Mapping[str, nn.Module]:
            student = build("student")
            probe = nn.Linear(64, 10)
            train(Phase("probe", {"probe": probe}, self.losses))
            student.fc.weight.data.copy_(probe.weight.data)
            return {"student": student}

        def losses(self, net: Networks, batch: Batch) -> Iterator[LossTerm]:
            yield LossTerm("probe", "labels", "ce", cross_entropy(net.probe(batch.images.flatten(1)), batch.labels))

    sets = {"data.train_images": 192}
    large = small_run(Linear(), "large", precision="64-true", set=sets)
    small = small_run(Linear(), "small", precision="64-true", batch_size=32, set={**sets, "accumulate": 2})
    torch.testing.assert_close(
        weights(small.folder, "student")["fc.weight"], weights(large.folder, "student")["fc.weight"], rtol=1e-6, atol=0
    )


def test_learning_rate_follows_the_schedule(small_run: SmallRun) -> None:
    run = small_run("plain", epochs=8, lr=0.4)
    assert [row["lr"] for row in rows(run)] == pytest.approx([0.4] * 5 + [0.04, 0.004, 0.0004])


def test_schedules_have_their_shapes() -> None:
    at = [i / 100 for i in range(100)]
    cosine = [ScheduleSettings(name="cosine", warmup=0.1).factor_at(p) for p in at]
    assert cosine[0] == 0
    assert cosine[10] == 1
    assert cosine[:11] == sorted(cosine[:11])
    assert cosine[10:] == sorted(cosine[10:], reverse=True)
    cycle = [ScheduleSettings(name="one_cycle").factor_at(p) for p in at]
    assert max(cycle) == cycle[30] == 1
    assert 0 < cycle[0] == pytest.approx(0.04)
    assert cycle[99] < 0.01
    assert {ScheduleSettings(name="constant").factor_at(p) for p in at} == {1.0}
    milestones = ScheduleSettings(milestones=(0.5,), factor=0.2)
    assert (milestones.factor_at(0.499), milestones.factor_at(0.5)) == (1.0, 0.2)


def test_learning_rates_by_role_reach_the_optimiser(small_run: SmallRun) -> None:
    @dataclass(frozen=True)
    class Halted(Untaught):
        def run(self, train: Train, build: Build) -> Mapping[str, nn.Module]:
            student, peer = build("student"), build("teacher")
            before = peer.fc.weight.detach().clone()
            train(Phase("both", {"student": student, "peer": peer}, self.losses, learning_rates={"peer": 1e-30}))
            torch.testing.assert_close(peer.fc.weight.cpu(), before, atol=1e-6, rtol=0)
            return {"student": student}

        def losses(self, net: Networks, batch: Batch) -> Iterator[LossTerm]:
            for role in ("student", "peer"):
                logits = getattr(net, role)(batch).logits
                yield LossTerm(role, "labels", "ce", cross_entropy(logits, batch.labels))

    small_run(Halted(), set={"optimizer.weight_decay": 0})


def test_a_nonfinite_loss_says_where(small_run: SmallRun) -> None:
    with pytest.raises(
        DocendoError, match=r'phase "student", epoch \d, step \d: loss term student<labels:ce is not finite;'
    ):
        small_run("plain", lr=1e30)


@dataclass(frozen=True)
class Edged:
    """A loss of 0 whose gradient is not a number; its views say nothing of the progress, which the losses note."""

    roles: ClassVar[tuple[str, ...]] = ("student",)
    noted: ClassVar[list[float]] = []

    def run(self, train: Train, build: Build) -> Mapping[str, nn.Module]:
        views = lambda batch: Batch.of(batch.images, batch.labels)  # noqa: E731
        return train(Phase("edged", {"student": build("student")}, self.losses, views=views))

    def losses(self, net: Networks, batch: Batch) -> Iterator[LossTerm]:
        self.noted.append(batch.progress)
        logits = net.student(batch).logits
        yield LossTerm("student", "labels", "ce", cross_entropy(logits, batch.labels))
        yield LossTerm("student", "labels", "edge", (0 * logits.sum()).sqrt(), float(batch.progress >= 0.5))


def test_a_nonfinite_gradient_is_refused_where_it_is_seen(small_run: SmallRun) -> None:
    with pytest.raises(DocendoError, match=r'^phase "edged", epoch 2, step 1: the gradient is not finite;'):
        small_run(Edged(), student="resnet8", set={"optimizer.clip": 5})
    assert Edged.noted[-5:] == [0, 1 / 8, 1 / 4, 3 / 8, 1 / 2], "the progress of the phase, whatever views there are"


def test_a_nonfinite_loss_keeps_the_last_good_checkpoint(small_run: SmallRun, tmp_path: Path) -> None:
    with pytest.raises(DocendoError, match="the checkpoint before it is in"):
        small_run("plain", lr=1e30)
    state = torch.load(tmp_path / "run" / "checkpoints" / "01-student.pt", weights_only=True)
    assert state["position"]["epoch"] == 0


@pytest.mark.parametrize(("number", "word", "code"), [(signal.SIGINT, "Ctrl-C", 130), (signal.SIGTERM, "SIGTERM", 143)])
def test_signals_save_and_say_how_to_go_on(number: signal.Signals, word: str, code: int, small_run: SmallRun) -> None:
    before = signal.getsignal(signal.SIGINT)  # a shell's background jobs ignore it
    with pytest.raises(
        Interrupted, match=f'stopped by {word} in phase "student", epoch 1, step 3; all is saved'
    ) as stop:
        small_run("plain", progress=StopAt(3, number))
    assert stop.value.exit_code == code
    assert str(stop.value).endswith("--resume")
    assert signal.getsignal(signal.SIGINT) is before


def test_a_checkpoint_holds_plain_types_and_no_frozen_network(small_run: SmallRun, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        small_run("kd", progress=StopAt(10))
    state = torch.load(tmp_path / "run" / "checkpoints" / "02-student.pt", weights_only=True)
    assert {key.split(".")[0] for key in state["learners"]} == {"student"}
    assert set(state) == {"made_from", "position", "learners", "drifted", "optimizer", "scaler", "ema", "meter", "rng"}
    assert state["position"]["rows"] == []
    assert state["position"]["step"] == 2


def test_a_damaged_checkpoint_is_named(small_run: SmallRun, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        small_run("plain", progress=StopAt(3))
    checkpoint = tmp_path / "run" / "checkpoints" / "01-student.pt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(DocendoError, match=r"01-student.pt: damaged checkpoint .* delete it to repeat that phase"):
        small_run("plain", resume=True)


def test_a_stale_result_is_refused_and_says_what_changed(small_run: SmallRun, tmp_path: Path) -> None:
    first = small_run("kd", "first")
    other = small_run("kd", "other", seed=1)
    for name in ("results.json", "checkpoints/01-teacher.done.pt"):
        (first.folder / name).unlink()
    source = other.folder / "checkpoints" / "01-teacher.done.pt"
    (first.folder / "checkpoints" / "01-teacher.done.pt").write_bytes(source.read_bytes())
    with pytest.raises(DocendoError, match=r"01-teacher.done.pt: stale, .*seed was 1, is 0"):
        small_run("kd", "first", resume=True)


def test_finished_phases_are_remembered(small_run: SmallRun) -> None:
    straight = small_run("kd")
    for name in ("results.json", "checkpoints/02-student.done.pt"):
        (straight.folder / name).unlink()
    before = weights(straight.folder, "student")
    said = Said()
    again = small_run("kd", resume=True, progress=said)
    assert "teacher: already trained in this run, 2 epochs" in said.lines
    assert same(before, weights(again.folder, "student"))
    assert len(rows(again)) == 4


def test_a_poor_teacher_is_warned_about(small_run: SmallRun) -> None:
    said = Said()
    small_run(Untaught(), progress=said)
    assert any(line.startswith("warning: that is about chance (1 in 10)") for line in said.lines)


def test_the_callers_random_state_is_left_alone(small_run: SmallRun) -> None:
    torch.manual_seed(5)
    expected = torch.get_rng_state()
    small_run("sftn")
    assert torch.equal(torch.get_rng_state(), expected)


@pytest.mark.parametrize(("processes", "reached"), [(1, False), (2, True)])
def test_several_processes_have_a_gradient_of_what_counts_nothing_yet(processes: int, reached: bool) -> None:
    late, early = (torch.ones(1, requires_grad=True) for _ in range(2))
    terms = (LossTerm("s", "labels", "ce", early.sum()), LossTerm("s", "t", "hint", late.sum(), 0.0))
    step = cast(Step, SimpleNamespace(processes=processes))
    Step._total(step, terms, None).backward()
    assert early.grad is not None
    assert (late.grad is not None) is reached


def test_the_random_state_of_gpus_that_are_no_longer_seen_is_left() -> None:
    set_rng_state({"cpu": torch.get_rng_state(), "cuda": [torch.zeros(16, dtype=torch.uint8)] * 3})

"""The epochs of one phase: step, look, save, stop."""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import islice
from typing import Any, NamedTuple, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from docendo.core import Batch, LossTerm, Output, Phase, Staged, sharing
from docendo.data import DataSet, Split
from docendo.engine.meter import LossMeter
from docendo.engine.moving_average import MovingAverage
from docendo.engine.networks import Learners, answer, buffers_of, freeze, set_buffers, together
from docendo.engine.processes import SynchronisedBatchNorm, agree, everyones, gathered, scaled, summed
from docendo.engine.progress import Progress
from docendo.engine.random_state import rng_state, set_rng_state
from docendo.engine.rehearse import PhasePlan
from docendo.engine.settings import TrainSettings
from docendo.engine.side_by_side import Ask, Question, at_once, what_it_is
from docendo.engine.stop import StopRequest
from docendo.engine.store import Records, Slot, stream_of
from docendo.engine.teacher_memory import Lap, TeacherMemory, unmeasured
from docendo.errors import DocendoError, Interrupted
from docendo.metrics import accuracies

DTYPES = {"64-true": torch.float64, "bf16-true": torch.bfloat16}


@dataclass
class Position:
    """Where a phase stands: what its checkpoint holds besides the state of modules and optimiser.

    Attributes:
        epoch: finished epochs.
        step: finished batches of the epoch after them.
        seconds: time spent training.
        epoch_seconds: time spent in the unfinished epoch, evaluation excluded.
        rows: a row of metrics for each finished epoch.
        best: for each network, the epoch (from 1) and validation accuracy of its best epoch so far.
    """

    epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    epoch_seconds: float = 0.0
    rows: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, list[float]] = field(default_factory=dict)


@dataclass
class State:
    """All that a checkpoint holds; of frozen networks only the buffers, and only of those that are `drifting`."""

    learners: Learners
    drifting: Mapping[str, nn.Module]
    optimizer: Any
    ema: MovingAverage | None
    meter: LossMeter
    fabric: Fabric
    position: Position

    def save(self, slot: Slot) -> None:
        """Write the checkpoint; every process must call this, the first one writes."""
        random = everyones(self.fabric, rng_state())
        if self.fabric.is_global_zero:
            slot.save(
                {
                    "position": copy.deepcopy(vars(self.position)),
                    "learners": self.learners.roles.state_dict(),
                    "drifted": buffers_of(self.drifting),
                    "optimizer": self.optimizer.state_dict(),
                    "scaler": self.fabric.strategy.precision.state_dict(),
                    "ema": self.ema.state() if self.ema else None,
                    "meter": self.meter.state(),
                    "rng": random,
                }
            )
        self.fabric.barrier()

    def load(self, saved: dict[str, Any] | None) -> None:
        """Go on from a checkpoint, or from the beginning if there is none."""
        if saved is None:
            return
        self.position = Position(**saved["position"])
        self.learners.roles.load_state_dict(saved["learners"])
        set_buffers(self.drifting, saved["drifted"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.fabric.strategy.precision.load_state_dict(saved["scaler"])
        if self.ema:
            self.ema.load(saved["ema"])
        self.meter.load(saved["meter"])
        set_rng_state(saved["rng"][self.fabric.global_rank % len(saved["rng"])])


@dataclass
class Loop:
    """The epochs of one phase.

    `lap` is told which part of a step has just ended, so that steps can be measured; `ask` asks the frozen networks.
    """

    fabric: Fabric
    data: DataSet
    settings: TrainSettings
    seed: int
    progress: Progress
    records: Records
    how_to_resume: str
    phase: Phase
    frozen: Mapping[str, nn.Module]
    memory: TeacherMemory
    plan: PhasePlan
    slot: Slot
    state: State
    module: Any
    stop: StopRequest
    lap: Lap = unmeasured
    ask: Ask = at_once

    def __post_init__(self) -> None:
        """Say what is coming."""
        self.epochs = self.settings.epochs_of(self.phase.fraction)
        self.processes = self.fabric.world_size
        self.steps = self.data.train.steps(self.settings.batch_size, self.processes)
        position = self.state.position
        self.progress.phase(self.phase.name, self.epochs, self.steps, position.epoch * self.steps + position.step)
        self.saved_at = time.monotonic()
        self.live = {role: network for role, network in self.frozen.items() if role not in self.memory.roles}
        self.what_it_is = cache(lambda role: what_it_is(self.live[role]))
        # To look at a loss, or to ask the other processes, is to wait; on one CPU it is free.
        self.look_every = 1 if self.fabric.device.type == "cpu" else 50
        self.synchronised = self.processes > 1 and self.settings.sync_batchnorm
        self.batch_norm = SynchronisedBatchNorm if self.synchronised else contextlib.nullcontext
        self.turns: tuple[str | None, ...] = tuple(self.phase.learners) if self.phase.alternating else (None,)
        if self.phase.alternating and self.settings.accumulate > 1:
            raise DocendoError(
                f'phase "{self.phase.name}" updates its learners in turn, which does not go with accumulate='
                f"{self.settings.accumulate}: set accumulate=1, or let them learn together"
            )

    def run(self) -> None:
        """Train to the end of the phase."""
        for epoch in range(self.state.position.epoch, self.epochs):
            self._epoch(epoch)

    def _epoch(self, epoch: int) -> None:
        self.steps_of(epoch, self.state.position.step)
        self._end_epoch(epoch)

    def steps_of(self, epoch: int, start: int, count: int | None = None) -> None:
        """Make the steps of an epoch from `start` on: all, or so many."""
        position, settings, train = self.state.position, self.settings, self.data.train
        table = train.epoch(self.seed, stream_of(self.phase), epoch)
        began = time.monotonic() - position.epoch_seconds
        share = (self.fabric.global_rank, self.processes)
        batches = train.batches(settings.batch_size, table=table, start=start, share=share)
        along = self.memory.along((converted(batch, settings) for batch in islice(batches, count)), self.lap)
        with contextlib.closing(along):
            for step, (batch, remembered) in enumerate(along, start):
                self._step(epoch, step, batch, remembered)
                if (step + 1) % settings.accumulate == 0 or step + 1 == self.steps:
                    position.step = step + 1
                    position.epoch_seconds = time.monotonic() - began
                    self.progress.step(epoch + 1, step + 1, self._images(step), self.state.meter.means)
                    # Where a look was due within these batches: multiples of both would be far apart.
                    if (step + 1) % self.look_every < settings.accumulate or step + 1 == self.steps:
                        self._look(epoch, step)

    def _step(self, epoch: int, step: int, batch: Batch, remembered: Mapping[str, Output]) -> None:
        """Learn from one batch; the optimiser steps when the gradients of `accumulate` batches are there."""
        settings, optimizer = self.settings, self.state.optimizer
        first = step - step % settings.accumulate
        together = min(settings.accumulate, self.steps - first)
        last = step + 1 == first + together
        progress = self._progress(epoch, first)
        here = len(batch.labels)
        if self.phase.views:
            batch = self.phase.views(batch)
        question = Question(self.live, self.plan.reads, batch, self._as_in_training, self.what_it_is)
        answers = {**self.ask(question), **remembered}
        self.lap("frozen networks")
        factor = settings.schedule.factor_at(progress)
        for group in optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor
        for turn in self.turns:
            with self.fabric.no_backward_sync(self.module, enabled=not last):
                with self.batch_norm(), sharing(self._gather(here, step)):
                    terms = tuple(self.module(batch._replace(progress=progress), answers))
                terms = scaled(terms, here, self._images(step), self.processes)
                loss = self._total(terms, turn)
                self.state.meter.add(terms, loss, step, only=turn)
                if self.look_every == 1 and self.processes == 1:
                    self._refuse_nonfinite(epoch, self.state.meter.first_bad())  # before it spoils the weights
                self.fabric.backward(loss / together if together > 1 else loss)
            self.lap("learners")
            if not last:
                continue
            self._keep_gradients_of(turn)
            if settings.optimizer.clip:
                self.fabric.clip_gradients(self.module, optimizer, max_norm=settings.optimizer.clip)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if last and self.state.ema:
            self.state.ema.update(self.state.learners.roles)
        self.lap("optimizer")

    @contextlib.contextmanager
    def _as_in_training(self) -> Iterator[None]:
        with self.fabric.autocast(), self.batch_norm():
            yield

    def _total(self, terms: tuple[LossTerm, ...], turn: str | None) -> Tensor:
        """Sum the weighted terms of the learner whose turn it is, or all."""
        weighted = [(term.weight if turn in (None, term.role) else 0.0, term.value) for term in terms]
        # DDP waits for a gradient of every parameter: what counts nothing yet, or in another's turn, still counts.
        keep_all = self.processes > 1
        return cast(Tensor, sum(weight * value for weight, value in weighted if weight or keep_all))

    def _keep_gradients_of(self, turn: str | None) -> None:
        """Drop the gradients of the learners whose turn it is not, so that the optimiser passes them over."""
        for role, learner in self.state.learners.roles.items():
            if turn not in (None, role):
                learner.zero_grad(set_to_none=True)

    def _gather(self, here: int, step: int) -> Callable[[Tensor], Tensor] | None:
        """Give what puts the rows of all processes together."""
        return partial(gathered, here, self._images(step)) if self.processes > 1 else None

    def _images(self, step: int) -> int:
        """Count the images of a batch over all processes."""
        return min(self.settings.batch_size, len(self.data.train) - step * self.settings.batch_size)

    def _progress(self, epoch: int, step: int) -> float:
        return (epoch * self.steps + step) / (self.epochs * self.steps)

    def _look(self, epoch: int, step: int) -> None:
        """Refuse losses that are not finite, save if it is time, and stop if somebody asked; all processes together."""
        bad = self.state.meter.first_bad()
        due = time.monotonic() - self.saved_at >= self.settings.checkpoint_seconds
        any_bad, stopping, saving = agree(self.fabric, bad is not None, self.stop.signal is not None, due)
        if any_bad:
            self._refuse_nonfinite(epoch, bad or (step, "of another process"))
        if not (stopping or saving):
            return
        self.state.save(self.slot)
        self.saved_at = time.monotonic()
        if stopping:
            raise Interrupted(
                f'stopped by {self.stop.who} in phase "{self.phase.name}", epoch {epoch + 1}, step {step + 1}; '
                f"all is saved. Go on with: {self.how_to_resume}",
                self.stop.exit_code,
            )

    def _refuse_nonfinite(self, epoch: int, bad: tuple[int, str] | None) -> None:
        if bad is None:
            return
        step, term = bad
        kept = f"; the checkpoint before it is in {self.slot.checkpoint}" if self.slot.checkpoint.exists() else ""
        raise DocendoError(
            f'phase "{self.phase.name}", epoch {epoch + 1}, step {step + 1}: loss term {term} is not finite; '
            f"try a smaller --lr (now {self.settings.lr:g}), a warm-up (--set schedule.warmup=0.05) "
            f"or --set optimizer.clip=5{kept}"
        )

    def _end_epoch(self, epoch: int) -> None:
        position, meter = self.state.position, self.state.meter
        losses = meter.means(self.fabric)
        row: dict[str, Any] = {
            "phase": self.phase.name,
            "epoch": epoch + 1,
            "seconds": round(position.epoch_seconds, 3),
            "images_per_second": round(len(self.data.train) / max(position.epoch_seconds, 1e-9), 1),
            "lr": self.settings.rate * self.settings.schedule.factor_at(self._progress(epoch, self.steps - 1)),
            **{f"loss/{name}": value for name, value in losses.items()},
        }
        if self.data.val is not None:
            for name, top1 in self._accuracies(self.data.val).items():
                row[f"val_top1/{name}"] = top1
                if name not in position.best or top1 > position.best[name][1]:
                    position.best[name] = [epoch + 1, top1]
        if self.settings.best_on_test:
            row |= {f"test_top1/{name}": top1 for name, top1 in self._accuracies(self.data.test).items()}
        position.rows.append(row)
        position.seconds += position.epoch_seconds
        position.epoch, position.step, position.epoch_seconds = epoch + 1, 0, 0.0
        self.state.meter = LossMeter(meter.names, self.fabric.device)
        self.records.write(position.rows)
        self.progress.epoch(row)
        for news in self.memory.news():
            self.progress.say(news)
        if position.epoch < self.epochs:
            self._look(epoch, self.steps - 1)

    @torch.no_grad()
    def _accuracies(self, images: Split) -> dict[str, float]:
        """Measure the networks among the learners and what the phase predicts besides, all in one pass."""
        learners: Any = self.state.ema.module if self.state.ema else self.state.learners.roles
        frozen = self.frozen if self.phase.predictions else {}

        def answers(batch: Batch) -> dict[str, Tensor]:
            batch = batch._replace(images=batch.images.to(DTYPES.get(self.settings.precision, torch.float32)))
            net = together(learners, answer(frozen, self.plan.reads, batch), batch)
            found = {role: getattr(net, role)(batch).logits for role, n in learners.items() if isinstance(n, Staged)}
            return {**found, **(self.phase.predictions(net, batch) if self.phase.predictions else {})}

        learners.eval()
        freeze(frozen)  # whatever its statistics, they must not drift with validation images
        # Each process looks at a part, where all have the same network; shards must be asked equally often.
        shared = self.synchronised and not frozen and len(images) >= self.processes
        classes = len(self.data.classes)
        if shared:
            mine = _Share(images, (self.fabric.global_rank, self.processes))
            measured = accuracies(answers, mine, classes, total=partial(summed, self.fabric))
        else:
            measured = accuracies(answers, images, classes)
        freeze(frozen, self.phase.frozen_statistics)
        learners.train()
        return {name: accuracy.top1 for name, accuracy in measured.items()}


class _Share(NamedTuple):
    """The part of a split that one process looks at."""

    images: Split
    share: tuple[int, int]

    def batches(self, batch_size: int) -> Iterator[Batch]:
        return self.images.batches(batch_size, share=self.share)


def converted(batch: Batch, settings: TrainSettings) -> Batch:
    """Give a batch in the number format and memory layout of the run."""
    layout = torch.channels_last if settings.channels_last else torch.contiguous_format
    dtype = DTYPES.get(settings.precision, torch.float32)
    return batch._replace(images=batch.images.to(dtype).contiguous(memory_format=layout))

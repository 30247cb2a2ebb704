"""The epochs of one phase: step, look, save, stop."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from docendo.core import Batch, Phase, Staged
from docendo.data import DataSet, Split
from docendo.engine.arithmetic import Arithmetic
from docendo.engine.networks import Answers, answer, freeze, together
from docendo.engine.optim import make_recordable, set_rate
from docendo.engine.processes import agree, summed
from docendo.engine.progress import Progress
from docendo.engine.recording import RecordedStep, Recorder
from docendo.engine.rehearse import PhasePlan
from docendo.engine.settings import TrainSettings
from docendo.engine.side_by_side import Ask, at_once
from docendo.engine.state import State
from docendo.engine.step import Share, Step
from docendo.engine.stop import StopRequest
from docendo.engine.store import Records, Slot, stream_of
from docendo.engine.teacher_memory import Lap, TeacherMemory, unmeasured
from docendo.errors import DocendoError, Interrupted
from docendo.metrics import accuracies

DTYPES = {"64-true": torch.float64, "bf16-true": torch.bfloat16}


@dataclass
class Loop:
    """The epochs of one phase.

    `lap` is told which part of a step has just ended, so that steps can be measured; `ask` asks the frozen networks;
    `recorder` records steps.
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
    arithmetic: Arithmetic
    plan: PhasePlan
    slot: Slot
    state: State
    module: Any
    stop: StopRequest
    lap: Lap = unmeasured
    ask: Ask = at_once
    recorder: Recorder | None = None

    def __post_init__(self) -> None:
        """Say what is coming."""
        self.epochs = self.settings.epochs_of(self.phase.fraction)
        self.processes = self.fabric.world_size
        self.steps = self.data.train.steps(self.settings.batch_size, self.processes)
        position = self.state.position
        self.progress.phase(self.phase.name, self.epochs, self.steps, position.epoch * self.steps + position.step)
        self.saved_at = time.monotonic()
        live = {role: network for role, network in self.frozen.items() if role not in self.memory.roles}
        self.step = Step(
            fabric=self.fabric,
            settings=self.settings,
            phase=self.phase,
            plan=self.plan,
            live=live,
            arithmetic=self.arithmetic,
            state=self.state,
            module=self.module,
            ask=self.ask,
            lap=lambda part: self.lap(part),
        )
        # To look at a loss, or to ask the other processes, is to wait; on one CPU it is free.
        self.look_every = 1 if self.fabric.device.type == "cpu" and self.recorder is None else 50
        if self.phase.alternating and self.settings.accumulate > 1:
            raise DocendoError(
                f'phase "{self.phase.name}" updates its learners in turn, which does not go with accumulate='
                f"{self.settings.accumulate}: set accumulate=1, or let them learn together"
            )
        self.recorded = self._recorded(self.recorder) if self.recorder else None

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
                    # Where a look was due within these batches: multiples of both would be far apart. A wish to stop is
                    # known without one, but only to the process that heard it.
                    wished = self.processes == 1 and self.stop.signal is not None
                    if wished or (step + 1) % self.look_every < settings.accumulate or step + 1 == self.steps:
                        self._look(epoch, step)

    def _step(self, epoch: int, step: int, batch: Batch, remembered: Answers) -> None:
        """Learn from one batch; the optimiser steps when the gradients of `accumulate` batches are there."""
        first = step - step % self.settings.accumulate
        batches = min(self.settings.accumulate, self.steps - first)
        progress = self._progress(epoch, first)
        share = Share(len(batch.labels), self._images(step), batches, step + 1 == first + batches)
        if self.phase.views:
            batch = self.phase.views(batch)
        batch = batch._replace(progress=progress)
        set_rate(self.state.optimizer, self.settings.schedule.factor_at(progress))
        self.state.meter.begin(step)
        recorded = self.recorded if share.images == self.settings.batch_size else None
        answers = remembered
        if not (recorded and self.ask is at_once):
            answers = {**self.step.asked(batch), **remembered}
            self.lap("frozen networks")
        if recorded:
            recorded(batch, answers)
        else:
            self.step.learn(batch, answers, share, partial(self._look_at_once, epoch))

    def _recorded(self, recorder: Recorder) -> RecordedStep:
        """Give what makes the steps of whole batches, frozen networks included unless others ask them too."""
        images, optimizer = self.settings.batch_size, self.state.optimizer
        make_recordable(optimizer, self.fabric.device)

        def step(batch: Batch, known: Answers) -> list[float]:
            answers = {**self.step.asked(batch), **known} if self.ask is at_once else known
            return self.step.learn(batch, answers, Share(images, images), lambda: None)

        return RecordedStep(step, self.state.changing, optimizer.zero_grad, recorder, self.progress.say)

    def forget_recording(self) -> None:
        """Let go of the recorded step, whose memory on the device would else wait for the garbage collector."""
        self.recorded = None

    def _look_at_once(self, epoch: int) -> None:
        """Refuse losses that are not finite before they spoil the weights, where that takes no waiting."""
        if self.look_every == 1 and self.processes == 1:
            self._refuse_nonfinite(epoch, self.state.meter.first_bad())

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
            self._refuse_nonfinite(epoch, bad or (step, "something in another process"))
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
        step, what = bad
        kept = f"; the checkpoint before it is in {self.slot.checkpoint}" if self.slot.checkpoint.exists() else ""
        raise DocendoError(
            f'phase "{self.phase.name}", epoch {epoch + 1}, step {step + 1}: {what} is not finite; '
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
        meter.reset()
        self.records.write(position.rows)
        self.progress.epoch(row)
        for news in self.memory.news():
            self.progress.say(news)
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
        shared = self.step.synchronised and not frozen and len(images) >= self.processes
        classes = len(self.data.classes)
        with self.arithmetic.convolutions():
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

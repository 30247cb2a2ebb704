"""The trainer: one training loop for every phase of every method."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from timm.utils import ModelEmaV3
from torch import nn

from docendo.core import Batch, Phase, Staged
from docendo.data import DataSet
from docendo.data.seeds import seed_for
from docendo.engine.meter import LossMeter
from docendo.engine.networks import Learners, answer, freeze, only_learning
from docendo.engine.optim import make_optimizer
from docendo.engine.progress import Progress
from docendo.engine.rehearse import PhasePlan, rehearse
from docendo.engine.settings import TrainSettings
from docendo.engine.stop import StopRequest
from docendo.engine.store import Records, Slot, fingerprint, stream_of
from docendo.errors import DocendoError, Interrupted
from docendo.metrics import evaluate, near_chance

_DTYPES = {"64-true": torch.float64, "bf16-true": torch.bfloat16}


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


class Trainer:
    """Trains phases (`docendo.core.Train`), remembers finished ones, and goes on where a stopped run left off.

    Args:
        fabric: the device, precision and strategy; one process.
        data: the images, on the fabric's device.
        settings: the recipe.
        seed: the run's seed.
        folder: the run folder.
        progress: where to show progress.
        how_to_resume: the command that goes on with this run, for messages.

    Attributes:
        positions: the last position of each trained phase, by name.
    """

    def __init__(
        self,
        fabric: Fabric,
        data: DataSet,
        settings: TrainSettings,
        seed: int,
        folder: Path,
        progress: Progress,
        how_to_resume: str,
    ) -> None:
        self.fabric, self.data, self.settings, self.seed = fabric, data, settings, seed
        self.folder, self.progress, self.how_to_resume = folder, progress, how_to_resume
        self.positions: dict[str, Position] = {}
        self.records = Records(folder)
        (folder / "checkpoints").mkdir(parents=True, exist_ok=True)

    def __call__(self, phase: Phase) -> Mapping[str, nn.Module]:
        """Train the phase, or take its result from an earlier attempt at this run."""
        for module in (*phase.learners.values(), *phase.frozen.values()):
            self._place(module)
        made_from = fingerprint(phase, self.settings, self.data.fingerprint, self.seed)
        slot = Slot(self.folder / "checkpoints", len(self.positions) + 1, phase.name, made_from)
        done = slot.load_result()
        if done is None:
            with _random_state_kept():
                position = self._train(phase, slot)
        else:
            position = Position(**done["position"])
            for role, module in phase.learners.items():
                module.load_state_dict(done["learners"][role])
            self.progress.say(f"{phase.name}: already trained in this run, {position.epoch} epochs")
        self.positions[phase.name] = position
        self.records.keep(position.rows)
        return phase.learners

    def _train(self, phase: Phase, slot: Slot) -> Position:
        settings, train = self.settings, self.data.train
        freeze(phase.frozen, phase.frozen_statistics)
        self._show_teachers(phase)
        plan = rehearse(phase, self._convert(_first_images(self.data)))

        epochs = settings.epochs_of(phase.fraction)
        steps = train.steps(settings.batch_size)
        learners = Learners(phase.learners, phase.losses).train()
        with only_learning(learners, plan.idle), StopRequest() as stop:
            optimizer = make_optimizer(learners, settings.lr, settings.optimizer, phase.learning_rates, plan.idle)
            module, optimizer = self.fabric.setup(learners, optimizer)
            ema = ModelEmaV3(learners.roles, decay=settings.ema) if settings.ema else None
            meter = LossMeter([term.name for term in plan.terms], self.fabric.device)
            state = _State(learners, optimizer, ema, meter, self.fabric, Position())
            torch.manual_seed(seed_for(self.seed, stream_of(phase), "training"))
            state.load(slot.load_checkpoint())
            loop = _Loop(self, phase, plan, slot, state, module, stop, epochs, steps)
            for epoch in range(state.position.epoch, epochs):
                loop.epoch(epoch)
        if ema is not None:
            learners.roles.load_state_dict(ema.module.state_dict())
        slot.finish(
            {
                "position": vars(state.position),
                "learners": {role: net.state_dict() for role, net in phase.learners.items()},
            }
        )
        return state.position

    def _place(self, module: nn.Module) -> None:
        layout = torch.channels_last if self.settings.channels_last else torch.contiguous_format
        dtype = _DTYPES.get(self.settings.precision, torch.float32)
        module.to(self.fabric.device, dtype)
        if any(p.ndim == 4 for p in module.parameters()):
            module.to(memory_format=layout)

    def _convert(self, batch: Batch) -> Batch:
        layout = torch.channels_last if self.settings.channels_last else torch.contiguous_format
        dtype = _DTYPES.get(self.settings.precision, torch.float32)
        return batch._replace(images=batch.images.to(dtype).contiguous(memory_format=layout))

    def _show_teachers(self, phase: Phase) -> None:
        images, which = (self.data.val, "validation") if self.data.val is not None else (self.data.train, "training")
        for role, network in phase.frozen.items():
            accuracy = evaluate(network, images, len(self.data.classes))
            network.train(phase.frozen_statistics == "batch")
            self.progress.say(f"{role} (frozen): {accuracy.top1:.1%} of {accuracy.images} {which} images right")
            if near_chance(accuracy, len(self.data.classes)):
                self.progress.say(
                    f"warning: that is about chance (1 in {len(self.data.classes)}); "
                    f"are these weights for {self.data.name}, with classes in this order?"
                )


@dataclass
class _State:
    """All that a checkpoint holds."""

    learners: Learners
    optimizer: Any
    ema: ModelEmaV3 | None
    meter: LossMeter
    fabric: Fabric
    position: Position

    def save(self) -> dict[str, Any]:
        return {
            "position": copy.deepcopy(vars(self.position)),
            "learners": self.learners.roles.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.fabric.strategy.precision.state_dict(),
            "ema": self.ema.module.state_dict() if self.ema else None,
            "meter": self.meter.state(),
            "rng": _rng_state(),
        }

    def load(self, saved: dict[str, Any] | None) -> None:
        if saved is None:
            return
        self.position = Position(**saved["position"])
        self.learners.roles.load_state_dict(saved["learners"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.fabric.strategy.precision.load_state_dict(saved["scaler"])
        if self.ema:
            self.ema.module.load_state_dict(saved["ema"])
        self.meter.load(saved["meter"])
        _set_rng_state(saved["rng"])


@dataclass
class _Loop:
    """The epochs of one phase."""

    trainer: Trainer
    phase: Phase
    plan: PhasePlan
    slot: Slot
    state: _State
    module: Any
    stop: StopRequest
    epochs: int
    steps: int

    def __post_init__(self) -> None:
        position = self.state.position
        done = position.epoch * self.steps + position.step
        self.trainer.progress.phase(self.phase.name, self.epochs, self.steps, done)
        self.saved_at = time.monotonic()
        # Looking at a loss waits for the device; on a CPU that is free.
        self.check_every = 1 if self.trainer.fabric.device.type == "cpu" else 50

    def epoch(self, epoch: int) -> None:
        trainer, position, settings = self.trainer, self.state.position, self.trainer.settings
        train = trainer.data.train
        table = train.epoch(trainer.seed, stream_of(self.phase), epoch)
        began = time.monotonic() - position.epoch_seconds
        start = position.step
        for step, batch in enumerate(train.batches(settings.batch_size, table=table, start=start), start):
            self._step(epoch, step, trainer._convert(batch))
            if (step + 1) % settings.accumulate == 0 or step + 1 == self.steps:
                position.step = step + 1
                position.epoch_seconds = time.monotonic() - began
                trainer.progress.step(epoch + 1, step + 1, len(batch.labels), self.state.meter.means)
                self._keep(epoch, step)
        self._refuse_nonfinite(epoch)
        self._end_epoch(epoch)

    def _step(self, epoch: int, step: int, batch: Batch) -> None:
        """Learn from one batch; the optimiser steps when the gradients of `accumulate` batches are there."""
        trainer, settings, optimizer = self.trainer, self.trainer.settings, self.state.optimizer
        first = step - step % settings.accumulate
        progress = self._progress(epoch, first)
        together = min(settings.accumulate, self.steps - first)
        with trainer.fabric.autocast():
            answers = answer(self.phase.frozen, self.plan.reads, batch)
        terms = self.module(batch._replace(progress=progress), answers)
        loss = sum(term.weight * term.value for term in terms if term.weight)
        self.state.meter.add(terms, loss, step)
        if step % self.check_every == 0:
            self._refuse_nonfinite(epoch)
        trainer.fabric.backward(loss / together if together > 1 else loss)
        if step + 1 < first + together:
            return
        factor = settings.schedule.factor_at(progress)
        for group in optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor
        if settings.optimizer.clip:
            trainer.fabric.clip_gradients(self.module, optimizer, max_norm=settings.optimizer.clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if self.state.ema:
            self.state.ema.update(self.state.learners.roles)

    def _progress(self, epoch: int, step: int) -> float:
        return (epoch * self.steps + step) / (self.epochs * self.steps)

    def _refuse_nonfinite(self, epoch: int) -> None:
        bad = self.state.meter.first_bad()
        if bad is not None:
            step, term = bad
            kept = f"; the checkpoint before it is in {self.slot.checkpoint}" if self.slot.checkpoint.exists() else ""
            raise DocendoError(
                f'phase "{self.phase.name}", epoch {epoch + 1}, step {step + 1}: loss term {term} is not finite; '
                f"try a smaller --lr (now {self.trainer.settings.lr:g}), a warm-up (--set schedule.warmup=0.05) "
                f"or --set optimizer.clip=5{kept}"
            )

    def _keep(self, epoch: int, step: int) -> None:
        """Save if it is time, and stop if somebody asked."""
        settings = self.trainer.settings
        if self.stop.signal is None and time.monotonic() - self.saved_at < settings.checkpoint_seconds:
            return
        self._refuse_nonfinite(epoch)
        self.slot.save(self.state.save())
        self.saved_at = time.monotonic()
        if self.stop.signal is not None:
            who = "Ctrl-C" if self.stop.signal.name == "SIGINT" else self.stop.signal.name
            raise Interrupted(
                f'stopped by {who} in phase "{self.phase.name}", epoch {epoch + 1}, step {step + 1}; all is saved. '
                f"Go on with: {self.trainer.how_to_resume}",
                128 + self.stop.signal.value,
            )

    def _end_epoch(self, epoch: int) -> None:
        trainer, position, meter = self.trainer, self.state.position, self.state.meter
        row: dict[str, Any] = {
            "phase": self.phase.name,
            "epoch": epoch + 1,
            "seconds": round(position.epoch_seconds, 3),
            "images_per_second": round(len(trainer.data.train) / max(position.epoch_seconds, 1e-9), 1),
            "lr": trainer.settings.lr * trainer.settings.schedule.factor_at(self._progress(epoch, self.steps - 1)),
            **{f"loss/{name}": value for name, value in meter.means().items()},
        }
        if trainer.data.val is not None:
            roles = self.state.ema.module if self.state.ema else self.state.learners.roles
            for role, network in roles.items():
                if isinstance(network, Staged):
                    top1 = evaluate(cast(nn.Module, network), trainer.data.val, len(trainer.data.classes)).top1
                    row[f"val_top1/{role}"] = top1
                    if role not in position.best or top1 > position.best[role][1]:
                        position.best[role] = [epoch + 1, top1]
        position.rows.append(row)
        position.seconds += position.epoch_seconds
        position.epoch, position.step, position.epoch_seconds = epoch + 1, 0, 0.0
        self.state.meter = LossMeter(meter.names, trainer.fabric.device)
        trainer.records.write(position.rows)
        trainer.progress.epoch(row)
        if position.epoch < self.epochs:
            self._keep(epoch, self.steps - 1)


def _first_images(data: DataSet) -> Batch:
    return next(data.train.batches(min(4, len(data.train))))


def _rng_state() -> dict[str, Any]:
    cuda = [torch.cuda.get_rng_state(d) for d in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def _set_rng_state(state: Mapping[str, Any]) -> None:
    torch.set_rng_state(state["cpu"])
    for device, cuda in enumerate(state["cuda"]):
        torch.cuda.set_rng_state(cuda, device)


@contextmanager
def _random_state_kept() -> Iterator[None]:
    """Leave the random state as it was, so that a remembered phase changes nothing that is drawn after it."""
    state = _rng_state()
    try:
        yield
    finally:
        _set_rng_state(state)

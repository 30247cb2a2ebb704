"""The trainer: one way to train every phase of every method."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from docendo.core import Batch, Phase, Staged
from docendo.data import DataSet
from docendo.data.seeds import seed_for
from docendo.engine.arithmetic import arithmetic_of
from docendo.engine.compiling import compiled
from docendo.engine.folding import folded
from docendo.engine.half import Half
from docendo.engine.loop import DTYPES, Loop, converted
from docendo.engine.meter import LossMeter
from docendo.engine.moving_average import MovingAverage
from docendo.engine.networks import (
    Learners,
    adaptation_of,
    as_expected,
    buffers_of,
    fit,
    freeze,
    lay_out,
    only_learning,
    set_buffers,
)
from docendo.engine.optim import make_optimizer
from docendo.engine.progress import Progress
from docendo.engine.random_state import random_state_kept
from docendo.engine.recording import CannotRecord, Recorder, recorder_for
from docendo.engine.rehearse import PhasePlan, a_few, rehearse
from docendo.engine.settings import REFERENCE_BATCH, TrainSettings
from docendo.engine.sharding import sharded
from docendo.engine.side_by_side import Ask, at_once
from docendo.engine.state import Position, State
from docendo.engine.stop import StopRequest
from docendo.engine.store import Records, Slot, fingerprint, stream_of
from docendo.engine.teacher_memory import TeacherMemory, open_memory
from docendo.metrics import evaluate, near_chance


class Trainer:
    """Trains phases (`docendo.core.Train`), remembers finished ones, and goes on where a stopped run left off.

    Args:
        fabric: the device, precision and strategy, launched; one of its processes is this one.
        data: the images, on the fabric's device.
        settings: the recipe.
        seed: the run's seed.
        folder: the run folder.
        progress: where to show progress.
        how_to_resume: the command that goes on with this run, for messages.
        ask: asks frozen networks that answer anew.
        listening: listens for a wish to stop.

    Attributes:
        positions: the last position of each trained phase, in order.
        sharding: whether the processes share out the weights of frozen networks, which then stay off the device.
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
        *,
        ask: Ask = at_once,
        listening: Callable[[], AbstractContextManager[StopRequest]] = StopRequest,
    ) -> None:
        self.fabric, self.data, self.settings, self.seed = fabric, data, settings, seed
        self.folder, self.progress, self.how_to_resume = folder, progress, how_to_resume
        self.ask, self.listening = ask, listening
        self.positions: list[Position] = []
        self.sharding = settings.shard_frozen and fabric.world_size > 1
        if settings.shard_frozen and not self.sharding:
            progress.say("shard_frozen does nothing with one process: add --devices")
        if settings.scale_lr:
            images = settings.batch_size * settings.accumulate
            progress.say(f"lr {settings.lr:g} for {REFERENCE_BATCH} images a step is {settings.rate:g} for {images}")
        self.arithmetic = arithmetic_of(fabric, settings, progress.say)
        self.records = Records(folder, writing=fabric.is_global_zero)
        (folder / "checkpoints").mkdir(parents=True, exist_ok=True)

    def __call__(self, phase: Phase) -> Mapping[str, nn.Module]:
        """Train the phase, or take its result from an earlier attempt at this run."""
        slot = self.place(phase)
        done = slot.load_result()
        if done is None:
            with random_state_kept():
                position = self._train(phase, slot)
        else:
            position = Position(**done["position"])
            for role, module in phase.learners.items():
                module.load_state_dict(done["learners"][role])
            set_buffers(_drifting(phase), done["drifted"])
            self.progress.say(f"{phase.name}: already trained in this run, {position.epoch} epochs")
        self.positions.append(position)
        self.records.keep(position.rows)
        return phase.learners

    def place(self, phase: Phase) -> Slot:
        """Bring the modules of a phase to where they work, and say where in the run folder the phase is kept."""
        fit(phase.learners, len(self.data.train))
        for module in phase.learners.values():
            self._place(module, self.fabric.device)
        for module in phase.frozen.values():
            self._place(module, self._whole)
        made_from = fingerprint(phase, self.settings, self.data.fingerprint, self.seed)
        return Slot(self.folder / "checkpoints", len(self.positions) + 1, phase.name, made_from)

    def _train(self, phase: Phase, slot: Slot) -> Position:
        with self.ready(phase, slot) as loop:
            loop.run()
            state = loop.state
        if state.ema is not None:
            state.learners.roles.load_state_dict(state.ema.module.state_dict())
        if self.fabric.is_global_zero:
            learned = {role: net.state_dict() for role, net in phase.learners.items()}
            drifted = buffers_of(_drifting(phase))
            slot.finish({"position": vars(state.position), "learners": learned, "drifted": drifted})
        self.fabric.barrier()
        return state.position

    @contextmanager
    def ready(self, phase: Phase, slot: Slot) -> Iterator[Loop]:
        """Do all that comes before the first step of a phase whose modules are in place, and tidy up after the last."""
        settings, fabric = self.settings, self.fabric
        freeze(phase.frozen, phase.frozen_statistics)
        if not self.sharding:
            self._show_teachers(phase, phase.frozen)
        batch = converted(_first_images(self.data, self._whole), settings)
        plan = rehearse(phase, batch)
        for note in plan.notes:
            self.progress.say(note)
        frozen = dict(phase.frozen)
        if phase.frozen_statistics == "running":
            frozen = {role: folded(net, as_expected(net, batch.images)) for role, net in frozen.items()}
            for network in frozen.values():
                self._place(network, self._whole)
        if settings.frozen_precision:
            frozen = {role: Half(network) for role, network in frozen.items()}
        if self.sharding:
            frozen = sharded(phase, frozen, fabric.device)
            self._show_teachers(phase, frozen)

        learners = Learners(phase.learners, phase.losses).train()
        with ExitStack() as until_the_end:
            if settings.compile != "off":
                learning = phase.learners.values() if settings.compile == "all" else ()
                until_the_end.enter_context(
                    compiled(
                        [network for network in learning if isinstance(network, Staged)],
                        [] if self.sharding else list(frozen.values()),
                        batch.images[torch.arange(settings.batch_size // fabric.world_size) % len(batch.images)],
                        self.progress.say,
                    )
                )
            memory = until_the_end.enter_context(closing(self._memory(phase, plan, frozen, batch.images)))
            until_the_end.enter_context(only_learning(learners, plan.idle))
            stop = until_the_end.enter_context(self.listening())
            recorder = self._recorder() if settings.cuda_graphs else None
            optimizer = make_optimizer(learners, settings.rate, settings.optimizer, phase.learning_rates, plan.idle)
            module, optimizer = fabric.setup(learners, optimizer)
            ema = MovingAverage(learners.roles, settings.ema) if settings.ema else None
            meter = LossMeter([term.name for term in plan.terms], fabric.device)
            state = State(learners, _drifting(phase), optimizer, ema, meter, fabric, Position())
            rank = [fabric.global_rank] if fabric.global_rank else []
            torch.manual_seed(seed_for(self.seed, stream_of(phase), "training", *rank))
            state.load(slot.load_checkpoint())
            loop = Loop(
                fabric=fabric,
                data=self.data,
                settings=settings,
                seed=self.seed,
                progress=self.progress,
                records=self.records,
                how_to_resume=self.how_to_resume,
                phase=phase,
                frozen=frozen,
                memory=memory,
                arithmetic=self.arithmetic,
                plan=plan,
                slot=slot,
                state=state,
                module=module,
                stop=stop,
                ask=self.ask,
                recorder=recorder,
            )
            until_the_end.callback(loop.forget_recording)
            yield loop

    def _memory(self, phase: Phase, plan: PhasePlan, frozen: Mapping[str, nn.Module], images: Tensor) -> TeacherMemory:
        if self.sharding:
            return TeacherMemory({})
        settings, arithmetic, say = self.settings, self.arithmetic, self.progress.say
        return open_memory(frozen, phase, plan.reads, self.data, settings, images, arithmetic, say)

    def _recorder(self) -> Recorder | None:
        try:
            return recorder_for(self.fabric, self.settings, alone=self.ask is at_once)
        except CannotRecord as why:
            self.progress.say(f"steps are not recorded: {why}")
            return None

    @property
    def _whole(self) -> torch.device:
        """Where frozen networks are whole."""
        return torch.device("cpu") if self.sharding else self.fabric.device

    def _place(self, module: nn.Module, device: torch.device) -> None:
        layout = torch.channels_last if self.settings.channels_last else torch.contiguous_format
        dtype = DTYPES.get(self.settings.precision, torch.float32)
        module.to(device, dtype)
        lay_out(module, layout)

    def _show_teachers(self, phase: Phase, frozen: Mapping[str, nn.Module]) -> None:
        images, which = (self.data.val, "validation") if self.data.val is not None else (self.data.train, "training")
        for role, network in frozen.items():
            adaptation = adaptation_of(network)
            if adaptation is not None and adaptation.matters:
                self.progress.say(f"{role} (frozen) was trained on {adaptation}: it gets them as it was trained")
            seen = images if adaptation is None else images.seen_by(adaptation.theirs)
            accuracy = evaluate(network, seen, len(self.data.classes))
            network.train(phase.frozen_statistics == "batch")
            self.progress.say(f"{role} (frozen): {accuracy.top1:.1%} of {accuracy.images} {which} images right")
            if near_chance(accuracy, len(self.data.classes)):
                self.progress.say(
                    f"warning: that is about chance (1 in {len(self.data.classes)}); "
                    f"are these weights for {self.data.name}, with classes in this order?"
                )


def _drifting(phase: Phase) -> Mapping[str, nn.Module]:
    """Give the frozen networks of a phase whose BatchNorm buffers move."""
    return phase.frozen if phase.frozen_statistics == "batch" else {}


def _first_images(data: DataSet, device: torch.device) -> Batch:
    batch = a_few(data.train)
    images, labels, index, view = (tensor.to(device) for tensor in batch[:4])
    return Batch(images, labels, index, view, batch.progress)

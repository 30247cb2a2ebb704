"""How fast a run is, before it is begun: a few steps of each phase, beside the bare step of the network that learns."""

from __future__ import annotations

import copy
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric

from docendo.core import Method, Phase, Staged
from docendo.data import DataSet
from docendo.engine.arithmetic import Arithmetic
from docendo.engine.loop import Loop, converted
from docendo.engine.networks import lay_out
from docendo.engine.processes import launch, make_fabric
from docendo.engine.recording import UNTIL_REPLAYED
from docendo.engine.train import Trainer
from docendo.errors import DocendoError
from docendo.metrics import peak_memory
from docendo.recipes.settings import Request, RunSettings
from docendo.recipes.walk import request_of_one, walk


@dataclass(frozen=True)
class PhaseBench:
    """How fast a phase is.

    Attributes:
        name: the phase's name.
        images_per_second: through training, evaluation left out.
        milliseconds: of a step.
        parts: milliseconds of a step by part: data, frozen networks, learners, optimizer; measured apart, in steps that
            wait for the device after each part and are not recorded.
        floor: the role of the first network that learns here; None where only parts of networks do, as the next two.
        floor_milliseconds: of the bare step of that network alone: forward, cross-entropy, backward, update, on one
            batch that is at hand.
        ratio: the median, over rounds, of a step's time by the bare step's.
        seconds: what the whole phase takes at that speed, evaluation left out.
    """

    name: str
    images_per_second: float
    milliseconds: float
    parts: Mapping[str, float]
    floor: str | None
    floor_milliseconds: float | None
    ratio: float | None
    seconds: float


@dataclass(frozen=True)
class Bench:
    """How fast a run is.

    Attributes:
        settings: the run's.
        phases: in order.
        images_per_second: of all phases together, by the images that each sees.
        seconds: what all phases take, evaluation left out.
        peak_memory_bytes: most that the process held: of the GPU's memory on a GPU, else in RAM; None if unknown.
        device: where.
        threads: of a CPU.
        winograd: whether 3x3 convolutions are computed by Winograd's algorithm (`docendo.engine.winograd`).
    """

    settings: RunSettings
    phases: tuple[PhaseBench, ...]
    images_per_second: float
    seconds: float
    peak_memory_bytes: int | None
    device: str
    threads: int
    winograd: bool


def bench(
    method: str | Method,
    *,
    steps: int = 30,
    rounds: int = 3,
    set: Mapping[str, Any] | None = None,
    config: str | Path | None = None,
    **named: Any,
) -> Bench:
    """Measure some steps of every phase of a run, as they are in the midst of it; nothing is kept.

    Every phase makes the same steps again and again: once before the clock runs, so that the teacher memory is warm
    unless it is off, then in rounds that take turns with the bare step.

    Args:
        method: a method's name or object.
        steps: steps a round, at least 1; not more than an epoch has.
        rounds: how often, at least 1.
        set: further settings by dotted key, as `docendo.train` takes them.
        config: a YAML file with settings.
        named: teacher, student, data, teacher_memory and so on, as `docendo.train` takes them.

    Raises:
        DocendoError: as `train` does; for more than one process.
    """
    if steps < 1 or rounds < 1:
        raise DocendoError(f"steps={steps}, rounds={rounds}: give at least 1 of both")
    request = request_of_one("bench", method, named, set, config)
    return launch(make_fabric(request.machine), _bench, request, steps, rounds)  # type: ignore[no-any-return]


def _bench(fabric: Fabric, request: Request, steps: int, rounds: int) -> Bench:
    measured: list[PhaseBench] = []
    arithmetic: list[Arithmetic] = []

    def measure(trainer: Trainer, settings: RunSettings, phase: Phase) -> None:
        arithmetic.append(trainer.arithmetic)
        with trainer.ready(phase, trainer.place(phase)) as loop:
            measured.append(_measure(loop, trainer.data, settings, min(steps, loop.steps), rounds))

    settings = walk(fabric, request, measure)
    seconds = sum(phase.seconds for phase in measured)
    seen = sum(phase.seconds * phase.images_per_second for phase in measured)
    return Bench(
        settings,
        tuple(measured),
        seen / seconds,
        seconds,
        peak_memory(fabric.device),
        torch.cuda.get_device_name(fabric.device) if fabric.device.type == "cuda" else fabric.device.type,
        torch.get_num_threads(),
        any(how.winograd for how in arithmetic),
    )


def _measure(loop: Loop, images: DataSet, settings: RunSettings, steps: int, rounds: int) -> PhaseBench:
    networks = ((role, learner) for role, learner in loop.phase.learners.items() if isinstance(learner, Staged))
    role, network = next(networks, (None, None))
    wait = _waiting(loop.fabric.device)
    bare = _bare_step(network, images, settings, loop.arithmetic) if network is not None else None
    for _ in range(UNTIL_REPLAYED):
        loop.steps_of(0, 0, steps)
        if loop.recorded is None or loop.recorded.settled:
            break
    if bare:
        bare()
    whole: list[float] = []
    floor: list[float] = []
    for _ in range(rounds):
        whole.append(_timed(lambda: loop.steps_of(0, 0, steps), wait) / steps)
        if bare:
            floor.append(_timed(bare, wait, steps) / steps)
    step = statistics.median(whole)
    return PhaseBench(
        name=loop.phase.name,
        images_per_second=min(steps * settings.batch_size, len(images.train)) / steps / step,
        milliseconds=1000 * step,
        parts=_parts(loop, steps, wait),
        floor=role,
        floor_milliseconds=1000 * statistics.median(floor) if floor else None,
        ratio=statistics.median(a / b for a, b in zip(whole, floor, strict=True)) if floor else None,
        seconds=loop.epochs * loop.steps * step,
    )


def _parts(loop: Loop, steps: int, wait: Callable[[], None]) -> dict[str, float]:
    """Give the milliseconds of a step by part."""
    seconds: defaultdict[str, float] = defaultdict(float)
    wait()
    last = time.perf_counter()

    def lap(part: str) -> None:
        nonlocal last
        wait()
        now = time.perf_counter()
        seconds[part] += now - last
        last = now

    loop.lap = lap
    loop.forget_recording()
    loop.steps_of(0, 0, steps)
    return {part: 1000 * total / steps for part, total in seconds.items()}


def _timed(work: Callable[[], None], wait: Callable[[], None], times: int = 1) -> float:
    wait()
    began = time.perf_counter()
    for _ in range(times):
        work()
    wait()
    return time.perf_counter() - began


def _waiting(device: torch.device) -> Callable[[], None]:
    """Give what waits until the device has done all it was given."""
    return torch.accelerator.synchronize if device.type != "cpu" else lambda: None


def _bare_step(network: Any, images: DataSet, settings: RunSettings, arithmetic: Arithmetic) -> Callable[[], None]:
    """Give the least that training this network takes: it learns from the labels of one batch that is at hand."""
    alone = copy.deepcopy(network).requires_grad_(True).train()
    if settings.channels_last:
        lay_out(alone, torch.channels_last)
    batch = converted(next(images.train.batches(min(settings.batch_size, len(images.train)))), settings)
    optimizer = torch.optim.SGD(
        alone.parameters(), 1e-3, momentum=settings.optimizer.momentum, weight_decay=settings.optimizer.weight_decay
    )

    def step() -> None:
        with arithmetic():
            loss = F.cross_entropy(alone(batch.images).logits, batch.labels)
        torch.autograd.backward(loss)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step

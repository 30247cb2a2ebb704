"""A training step recorded once and replayed: on a GPU one launch instead of a thousand.

A recording repeats what the device was told, with the numbers and addresses of that time, and runs no Python. So it is
a step only where the step is a pure sequence of device operations; whether it is, is seen and not believed: before a
recording is used, it makes two steps that are then made anew without it.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.single_device import SingleDeviceStrategy
from torch import Tensor

from docendo.core import Batch, Output
from docendo.engine.networks import Answers
from docendo.engine.random_state import rng_state, set_rng_state
from docendo.engine.settings import TrainSettings

WARM_UP = 3
"""Steps made as they are before one is recorded: libraries and optimisers make what they need once."""
CHECKED = 2
"""Steps that a recording makes beside the step itself before it is trusted."""
UNTIL_REPLAYED = WARM_UP + CHECKED
TOLERANCE = 0.01
"""Largest part of what a step changes by which a replay may differ: a GPU adds up in another order each time."""
ROUNDING = torch.finfo(torch.float32).eps
"""Part of numbers themselves by which they may differ besides."""

Work = Callable[[], object]
Learn = Callable[[Batch, Answers], object]
"""Makes a step and gives the numbers of Python that went into it, which a recording keeps as they were."""
Group = Sequence[Tensor]


class CannotRecord(Exception):
    """Why steps are not recorded."""


class Recorder(Protocol):
    """Records what a device is told."""

    def warm_up(self, work: Work) -> None:
        """Do work that will be recorded.

        Raises:
            CannotRecord: it depends on what no recording repeats.
        """

    def record(self, work: Work) -> Work:
        """Give what repeats some work, without doing it now."""


class CudaGraphs:
    """Records work as CUDA graphs.

    Args:
        alone: whether no other work is done at the same time; graphs of PyTorch before 2.15 have the places of their
            random state in common.
    """

    def __init__(self, *, alone: bool = True) -> None:
        self._alone = alone
        # Of its own: graphs captured on one stream have workspaces of cuBLAS in common, though replayed on several.
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]

    def warm_up(self, work: Work) -> None:
        """Do work on a stream of its own, as `torch.cuda.CUDAGraph` wants it."""
        on_cpu, on_gpu = torch.get_rng_state(), torch.cuda.get_rng_state()
        here, aside = torch.cuda.current_stream(), self._stream
        aside.wait_stream(here)
        try:
            with torch.cuda.stream(aside):
                work()
        finally:
            here.wait_stream(aside)
        if not torch.equal(on_cpu, torch.get_rng_state()):
            raise CannotRecord("the losses draw random numbers on the CPU")
        if not self._alone and not torch.equal(on_gpu, torch.cuda.get_rng_state()):
            raise CannotRecord("a step draws random numbers, as for dropout, and so may those of other seeds beside it")

    def record(self, work: Work) -> Work:
        """Capture work as one graph."""
        graph = torch.cuda.CUDAGraph()
        # Of this thread alone: others may be decoding images meanwhile.
        with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
            work()
        return graph.replay


def recorder_for(fabric: Fabric, settings: TrainSettings, *, alone: bool = True) -> Recorder:
    """Give what records the steps of a run.

    Args:
        fabric: of the run.
        settings: of the run.
        alone: whether no other run goes on beside it in this process.

    Raises:
        CannotRecord: steps cannot be recorded on this device, or as they are set.
    """
    if fabric.device.type != "cuda":
        raise CannotRecord(f"a {fabric.device.type} knows no CUDA graphs")
    if not isinstance(fabric.strategy, SingleDeviceStrategy):
        raise CannotRecord("several processes wait for each other in a step")
    if settings.accumulate > 1:
        raise CannotRecord(f"accumulate={settings.accumulate} makes steps of more than one kind")
    if settings.precision == "16-mixed":
        raise CannotRecord("precision 16-mixed looks at each step whether its gradients are finite")
    return CudaGraphs(alone=alone)


class RecordedStep:
    """Makes training steps: the first as they are, then by a recording, if that does what they do.

    Args:
        step: makes a step of a batch and what is known of frozen networks' answers.
        changing: gives all tensors that a step may change, in groups.
        tidy: is called when recording broke off, and drops what the step left half done.
        recorder: records on this device.
        say: takes that steps are recorded, or why they are not.
    """

    def __init__(
        self,
        step: Learn,
        changing: Callable[[], Mapping[str, Group]],
        tidy: Work,
        recorder: Recorder,
        say: Callable[[str], None],
    ) -> None:
        self._step, self._changing, self._tidy = step, changing, tidy
        self._recorder, self._say = recorder, say
        self._made = 0
        self._numbers: object = None
        self._replay: Learn | None = None
        self._refused = False

    def __call__(self, batch: Batch, known: Answers) -> None:
        """Make a step."""
        if self._refused:
            self._step(batch, known)
            return
        try:
            self._next(batch, known)
        except CannotRecord as why:
            self._refused, self._replay = True, None
            self._say(f"steps are not recorded: {why}")

    def _next(self, batch: Batch, known: Answers) -> None:
        """Make a step.

        Raises:
            CannotRecord: it was made, and shows that steps cannot be recorded.
        """
        made, self._made = self._made, self._made + 1
        if made < WARM_UP:
            read: list[str] = []
            self._recorder.warm_up(lambda: self._learn(_watched(batch, read), known))
            if read:
                raise CannotRecord("weights of loss terms follow the progress of the phase")
        elif self._replay is None or made < UNTIL_REPLAYED:
            self._checked(batch, known)
        else:
            self._replay(batch, known)

    @property
    def settled(self) -> bool:
        """Whether it is decided if steps are replayed."""
        return self._refused or self._made >= UNTIL_REPLAYED

    def _learn(self, batch: Batch, known: Answers) -> None:
        """Make a step as it is.

        Raises:
            CannotRecord: it was made with other numbers than the one before.
        """
        before, self._numbers = self._numbers, self._step(batch, known)
        if before is not None and before != self._numbers:
            raise CannotRecord("weights of loss terms change from step to step")

    def _checked(self, batch: Batch, known: Answers) -> None:
        """Make a step by the recording, take it back, and make it as it is."""
        changing = {name: [tensor.detach() for tensor in group] for name, group in self._changing().items()}
        before, random = _copies(changing), rng_state()
        why, around = None, sys.exc_info()[1]
        try:
            if self._replay is None:
                self._replay = _recorded(self._recorder, self._step, batch, known)
            self._replay(batch, known)
        except Exception as error:  # of many kinds, by what a device does not let be recorded
            why = _first_cause(error, around)
            self._tidy()
        replayed = _copies(changing)
        for name, group in changing.items():
            for tensor, was in zip(group, before[name], strict=True):
                tensor.copy_(was)
        set_rng_state(random)
        self._learn(batch, known)
        if why is not None:
            raise CannotRecord(why)
        different = [name for name in changing if not _alike(before[name], replayed[name], changing[name])]
        if different:
            more = f" and {len(different) - 3} more" if len(different) > 3 else ""
            which = ", ".join(different[:3]) + more
            raise CannotRecord(f"a replay changed {which} in another way than the step itself")
        if self._made == UNTIL_REPLAYED:
            self._say("the step is recorded, and replayed from here on")


def _first_cause(error: BaseException, around: BaseException | None) -> str:
    """Say what went wrong first, after what was wrong around it: a recording that has failed complains once more."""
    while error.__context__ not in (None, around) and not error.__suppress_context__:
        error = error.__context__
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _recorded(recorder: Recorder, step: Learn, batch: Batch, known: Answers) -> Learn:
    """Record a step of copies, which each replay fills anew."""
    images, labels, index, view = (tensor.clone() for tensor in batch[:4])
    own_batch = Batch(images, labels, index, view, batch.progress)
    own_known = {role: _copy(answer) for role, answer in known.items()}
    replay = recorder.record(lambda: step(own_batch, own_known))
    places = [*_tensors(own_batch, own_known)]

    def step_again(batch: Batch, known: Answers) -> None:
        known = {role: known[role] for role in own_known}  # in this order
        for place, tensor in zip(places, _tensors(batch, known), strict=True):
            place.copy_(tensor)
        replay()

    return step_again


def _watched(batch: Batch, read: list[str]) -> Batch:
    """Give a batch that notes when its progress is read: a recording would keep what it was."""

    class Watched(Batch):
        @property
        def progress(self) -> float:
            read.append("progress")
            return batch.progress

    return Watched(*batch)


def _tensors(batch: Batch, known: Answers) -> Iterator[Tensor]:
    yield from batch[:4]
    for answer in known.values():
        yield from (part for part in (answer.logits, answer.pooled, *answer.stages) if part is not None)


def _copy(answer: Output) -> Output:
    """Copy an answer, whose parts that nobody reads are None."""

    def copy(part: Any) -> Any:
        return None if part is None else part.clone()

    return Output(copy(answer.logits), copy(answer.pooled), tuple(copy(stage) for stage in answer.stages))


def _copies(groups: Mapping[str, Group]) -> dict[str, list[Tensor]]:
    return {name: [tensor.clone() for tensor in group] for name, group in groups.items()}


def _alike(before: Group, one: Group, other: Group) -> bool:
    """Say whether two ways to change some tensors come to the same: whole numbers exactly, others but for rounding."""
    if not all(tensor.is_floating_point() for tensor in other):
        return all(map(torch.equal, one, other))
    size = math.sqrt(sum(float(y[y.isfinite()].double().square().sum()) for y in other))
    return _distance(one, other) <= TOLERANCE * _distance(before, other) + ROUNDING * size


def _distance(some: Group, others: Group) -> float:
    """Give the distance between lists of tensors; what is not finite is infinitely far from all but the same."""
    total = 0.0
    for x, y in zip(some, others, strict=True):
        apart = torch.where((x == y) | (x.isnan() & y.isnan()), 0.0, x.double() - y.double())
        total += float(apart.square().sum())
    return math.inf if math.isnan(total) else math.sqrt(total)

"""The nouns of docendo: what networks, losses, methods and the engine say to each other.

A *method* is a short object whose `run` is ordinary Python: it builds networks, and hands *phases* to `train`, the one
verb. A phase says who learns, who is frozen and, in `losses`, what is learned from whom. Who trains it, on which
device, from which files, with how many processes, is none of its business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn


class Batch(NamedTuple):
    """Some views of some samples, as the losses of a method see them.

    Attributes:
        images: (B, C, H, W), floating point, normalised.
        labels: (B,), int64, in [0, classes). Where images are mixed with each other: (B, K), float32, the share of each
            class in each image; then (index, view) is the first of two that it is made of.
        index: (B,), int64, the place of each sample in its split.
        view: (B,), int64, which augmentation of that sample this is: (index, view) determines the image.
        progress: how much of the phase is done, in [0, 1].
    """

    images: Tensor
    labels: Tensor
    index: Tensor  # type: ignore[assignment]  # a tuple's own index() is of no use here
    view: Tensor
    progress: float

    @classmethod
    def of(cls, images: Tensor, labels: Tensor, *, index: Tensor | None = None, progress: float = 0.0) -> Batch:
        """Make a batch for a loop of your own.

        Args:
            images: (B, C, H, W).
            labels: (B,).
            index: (B,), which of the training images these are; the first ones unless given. CRD keeps a row for each.
            progress: the part of the training that is done, from 0 to 1. The weights of DKD and ReviewKD rise with it.
        """
        if index is None:
            index = torch.arange(len(labels), device=labels.device)
        return cls(images, labels, index, torch.zeros_like(index), progress)


class Output(NamedTuple):
    """What a network lets others see.

    Attributes:
        logits: (B, K), before any softmax.
        pooled: (B, D), what the classifier reads.
        stages: the raw output of each stage, (B, C_i, H_i, W_i): after the activation in post-activation networks,
            before the next BatchNorm in pre-activation ones. A tail gives only the stages that it holds.
    """

    logits: Tensor
    pooled: Tensor
    stages: tuple[Tensor, ...]


class LossTerm(NamedTuple):
    """A receipt: who learns what from whom, how much.

    Attributes:
        learner: the role that learns, or a part of it after a dot: "student", "branches.0".
        teacher: the role that teaches, or "labels".
        kind: the name of the loss: "ce", "kd".
        value: the loss, a scalar.
        weight: its factor in the sum that is minimised; a term of weight 0 is shown but not learned from.
        over_batch: whether the value is a "mean" over the images of the batch or a "sum"; several processes, which see
            a part each, put it together accordingly. "whole": every process computed it of `whole_batch`.
    """

    learner: str
    teacher: str
    kind: str
    value: Tensor
    weight: float = 1.0
    over_batch: Literal["mean", "sum", "whole"] = "mean"

    @property
    def role(self) -> str:
        """The role of the learner, without the part."""
        return self.learner.partition(".")[0]

    @property
    def name(self) -> str:
        """How logs call this term.

        >>> LossTerm("student", "teacher", "kd", None).name
        'student<teacher:kd'
        """
        return f"{self.learner}<{self.teacher}:{self.kind}"


_whole: ContextVar[Callable[[Tensor], Tensor] | None] = ContextVar("whole_batch", default=None)


def whole_batch(x: Tensor) -> Tensor:
    """Give, for what belongs to the images of the batch at hand, that of the whole batch, which processes may share.

    A loss that relates images to each other takes its arguments through this; its term is over the batch as a "whole".
    Gradients flow back to every process. On one process it gives what it got.

    Args:
        x: (b, ...), a row for each image here, or as many for each as the phase has `views`.

    Returns:
        (B, ...), the rows of all images, in the order of the batch.
    """
    gather = _whole.get()
    return x if gather is None else gather(x)


@contextmanager
def sharing(gather: Callable[[Tensor], Tensor] | None) -> Iterator[None]:
    """Let `whole_batch` gather so: for whoever trains with several processes."""
    token = _whole.set(gather)
    try:
        yield
    finally:
        _whole.reset(token)


class Networks(Protocol):
    """The networks of a phase by role, as `losses` gets them: `net.student(batch)`, `net.branches(stages)`.

    Within one step a network answers the same batch once, however many terms ask. Learners answer other images anew;
    frozen networks are asked about the batch alone (`Phase.views` widens it for all).
    """

    def __getattr__(self, role: str) -> Callable[..., Any]:
        """Give the network in that role."""
        ...


Losses = Callable[[Networks, Batch], Iterable[LossTerm]]

Predictions = Callable[[Networks, Batch], Mapping[str, Tensor]]
"""Logits (B, K) by name, of parts that are no networks of their own: a branch, a trunk with a bridge."""


@runtime_checkable
class Staged(Protocol):
    """A network cut into stages (see `docendo.networks.StagedNetwork`)."""

    stages: Any
    head: Any
    tail: Any


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode, and every part of it back into the mode it was in."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@dataclass(frozen=True)
class Phase:
    """One stretch of training, with its own optimiser, schedule and random stream.

    Attributes:
        name: what people call it: "student", "friendly teacher".
        learners: the modules that train, by role. In `losses` a network learner is called with the batch, any other
            module with whatever arguments it takes; if that has `notes`, a tuple of lines, they are shown; if it has
            `fit_to`, that is called with the number of training images before anything else.
        losses: yields the loss terms of one batch: `losses(net, batch)`.
        frozen: the networks that only answer, by role. No gradient, evaluation mode, never in a checkpoint.
        stream: the random stream of order, views and dropout; by default the first learner's role, so that methods
            that train the same role see the same views.
        fraction: how many of the run's epochs this phase takes, in (0, 1].
        learning_rates: factor on the run's learning rate, by role, where it is not 1.
        frozen_statistics: whether BatchNorm in frozen networks uses its "running" statistics or the "batch" (then its
            buffers move, as in some released code).
        alternating: whether the learners take turns at each batch: all networks answer anew, one learner takes its step
            on its own terms, then the next. Else all learn together from one look at the batch.
        views: makes of each batch what all networks look at instead: as many rows for every image, one image after
            the other, such as each with its rotations. Evaluation sees images as they are.
        predictions: what else to measure on the validation images after each epoch; networks among the learners are
            measured anyway.
    """

    name: str
    learners: Mapping[str, nn.Module]
    losses: Losses
    frozen: Mapping[str, nn.Module] = field(default_factory=dict)
    stream: str | None = None
    fraction: float = 1.0
    learning_rates: Mapping[str, float] = field(default_factory=dict)
    frozen_statistics: Literal["running", "batch"] = "running"
    alternating: bool = False
    views: Callable[[Batch], Batch] | None = None
    predictions: Predictions | None = None


class Train(Protocol):
    """The one verb. The trainer, the rehearsal and the remembering trainer all have this shape."""

    def __call__(self, phase: Phase) -> Mapping[str, nn.Module]:
        """Train the learners of the phase and give them back by role."""
        ...


class Build(Protocol):
    """Makes the network of a role, as the user named it, seeded by (run seed, role)."""

    def __call__(self, role: str, *, frozen: bool = False, number: int = 0) -> Any:
        """Give a new network for this role, with the user's weights where they were given.

        Args:
            role: the role.
            frozen: whether it will only answer: then weights that were trained on other images, by normalisation or
                size, get them so. A network that learns here gets used to the images of this run.
            number: which of several networks of this role. Those after 0 have the role's architecture and first weights
                of their own, whatever file was given.
        """
        ...

    def is_trained(self, role: str) -> bool:
        """Say whether the user gave weights for this role."""
        ...


class Method(Protocol):
    """A way of teaching: a frozen dataclass whose fields are its settings (see `setting`).

    It may also have `notes`, a tuple of lines about these settings that its user should read; and `ensembles`, by name
    the deployable roles that are measured together.
    """

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles for which the user may name a network or a weights file."""
        ...

    def run(self, train: Train, build: Build) -> Mapping[str, nn.Module]:
        """Train, and give the deployable networks by role, the one to deploy first."""
        ...


class Lesson(NamedTuple):
    """What one teacher teaches one student by one loss, alone or beside other lessons.

    Attributes:
        terms: `terms(net, batch, student, teacher)` yields the loss terms, of what both networks say of the batch;
            learner and teacher are called "student" and "teacher", whoever holds those places.
        learners: what learns with the student, by role, and is dropped afterwards: adapters, banks.
    """

    terms: Callable[[Networks, Batch, Output, Output], Iterable[LossTerm]]
    learners: Mapping[str, nn.Module] = {}


class Transfer(Method, Protocol):
    """A method whose student learns from a teacher that is already there, so that others can hold it: `then=KD()`."""

    def distil(self, train: Train, teacher: nn.Module, student: Any) -> Any:
        """Train the student from the frozen teacher and give it back."""
        ...

    def lesson(self, teacher: Any, student: Any) -> Lesson:
        """Give its loss between these two, without the labels', to be added to another method's."""
        ...


def setting(
    default: Any,
    meaning: str,
    *,
    source: str,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
) -> Any:
    """Declare one setting of a method: a dataclass field that knows its meaning, its range and its default's source.

    Args:
        default: the value if nobody says otherwise; a frozen dataclass may stand here too.
        meaning: one phrase for a reader who knows the paper's abstract.
        source: where the default comes from: paper and equation, released code, or "ours" with the reason.
        at_least: smallest allowed value.
        above: allowed values are larger than this.
        at_most: largest allowed value.
    """
    bounds = {"at_least": at_least, "above": above, "at_most": at_most}
    return field(
        default=default,
        metadata={"meaning": meaning, "source": source, **{k: v for k, v in bounds.items() if v is not None}},
    )

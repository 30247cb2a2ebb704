"""Several runs in one process: they take turns at each step, and a frozen network that they share answers all at once.

Each run is ordinary code in a greenlet of its own, which goes on until it asks its frozen networks something. When all
have asked, each network answers everybody in one batch. So a run sees nothing of the others but the time they take, and
an answer's rounding, which may differ with the number of images that are asked about together.

On a GPU each run has a stream of its own, so that what they do between two questions may be done at the same time.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import copy_context
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from docendo.core import Batch, Output
from docendo.engine.networks import Answers, Reads, adaptation_of, answer
from docendo.engine.random_state import rng_state, set_rng_state
from docendo.engine.store import digest
from docendo.errors import Interrupted


@dataclass(frozen=True)
class Question:
    """What a step asks of the frozen networks that answer anew.

    Attributes:
        frozen: these networks by role.
        reads: what the losses read of each.
        batch: the images.
        context: the number format, and whatever else they answer in.
        what_it_is: tells a network by its role from all that would answer otherwise.
    """

    frozen: Mapping[str, nn.Module]
    reads: Mapping[str, Reads]
    batch: Batch
    context: Callable[[], AbstractContextManager[Any]]
    what_it_is: Callable[[str], Hashable]

    def answered(self) -> Answers:
        """Give what the networks say."""
        with self.context():
            return answer(self.frozen, self.reads, self.batch)


Ask = Callable[[Question], Answers]
"""Gives the answers to a question, now or when others have asked too."""


def at_once(question: Question) -> Answers:
    """Answer a question alone."""
    return question.answered()


def what_it_is(network: nn.Module) -> Hashable:
    """Tell a frozen network from all that would answer otherwise.

    One that uses the statistics of its batch looks at the batch as a whole, so it is like no other.
    """
    return network if network.training else (digest(network), repr(network), repr(adaptation_of(network)))


def side_by_side(works: Sequence[Callable[[Ask], Any]], device: torch.device | None = None) -> list[Any]:
    """Do several works that ask frozen networks, each until its next question in turn.

    Args:
        works: each takes what it asks, once a step. Each has a random state of its own, which begins as it is now.
        device: where they work; a CPU unless given.

    Returns:
        What each work returned, or the exception that ended it; an exception of one does not concern the others.
    """
    import greenlet

    hub = greenlet.getcurrent()
    streams = device is not None and device.type == "cuda"
    lanes = [_Lane(greenlet.greenlet(_caught), work, hub.switch, _Queue(streams)) for work in works]
    results: dict[_Lane, Any] = {}
    while working := [lane for lane in lanes if lane not in results]:
        said = {lane: lane.go_on() for lane in working}
        for lane in working:  # when all have been sent on: who goes on waits for what this queue waits for
            lane.queue.join()
        results |= {lane: end for lane, end in said.items() if lane.ended}
        questions = {lane: question for lane, question in said.items() if not lane.ended}
        for lane, answers in zip(questions, _answer([*questions.values()]), strict=True):
            lane.told = (answers,)
    return [results[lane] for lane in lanes]


class _Queue:
    """A lane's queue on the device: a stream of its own, or the one that all have."""

    def __init__(self, streams: bool) -> None:
        self._stream: Any = torch.cuda.Stream() if streams else None  # type: ignore[no-untyped-call]

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Let the device do what follows after all that the queue around this one holds by now."""
        if self._stream is None:
            yield
            return
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            yield

    def join(self) -> None:
        """Let the queue around this one wait for it."""
        if self._stream is not None:
            torch.cuda.current_stream().wait_stream(self._stream)


class _Lane:
    """One of the works, stopped at a question or not yet begun.

    Attributes:
        queue: what it lets the device do.
        told: what it goes on with: its beginning, then the answers to its last question.
    """

    def __init__(self, greenlet: Any, work: Callable[[Ask], Any], ask: Ask, queue: _Queue) -> None:
        self._greenlet, self.queue = greenlet, queue
        greenlet.gr_context = copy_context()
        self._random, self._strict = rng_state(), torch.are_deterministic_algorithms_enabled()
        self.told: tuple[Any, ...] = work, ask

    @property
    def ended(self) -> bool:
        return bool(self._greenlet.dead)

    def go_on(self) -> Any:
        """Work until the next question and give it, or what the work ended with."""
        outside, strict = rng_state(), torch.are_deterministic_algorithms_enabled()
        self._set(self._random, self._strict)
        try:
            with self.queue.entered():
                return self._greenlet.switch(*self.told)
        finally:
            self._random, self._strict = rng_state(), torch.are_deterministic_algorithms_enabled()
            self._set(outside, strict)

    @staticmethod
    def _set(random: dict[str, Any], strict: bool) -> None:
        set_rng_state(random)
        if strict != torch.are_deterministic_algorithms_enabled():
            torch.use_deterministic_algorithms(strict)


def _caught(work: Callable[[Ask], Any], ask: Ask) -> Any:
    try:
        return work(ask)
    except (Exception, Interrupted) as error:  # not a second Ctrl-C, which waits for nobody
        return error


def _answer(questions: Sequence[Question]) -> list[Answers]:
    """Answer all questions: a network that is the same in several runs, all who read the same of it in one batch."""
    alike: dict[Hashable, list[tuple[int, str]]] = {}
    for who, question in enumerate(questions):
        for role in question.frozen:
            what = question.what_it_is(role), question.reads[role], question.batch.images.shape[1:]
            alike.setdefault(what, []).append((who, role))
    answers: list[dict[str, Output]] = [{} for _ in questions]
    for asking in alike.values():
        images = [questions[who].batch.images for who, _ in asking]
        who, role = asking[0]
        first = questions[who]
        all_images = first.batch._replace(images=torch.cat(images))
        output = replace(first, frozen={role: first.frozen[role]}, batch=all_images).answered()[role]
        for (who, role), part in zip(asking, _parts(output, [len(some) for some in images]), strict=True):
            answers[who][role] = part
    return list(answers)


def _parts(output: Output, sizes: Sequence[int]) -> list[Output]:
    """Take the answer to several batches apart; what nobody reads is None in all parts."""

    def cut(x: Tensor | None) -> Sequence[Any]:
        return [None] * len(sizes) if x is None else torch.split(x, list(sizes))

    logits, pooled = cut(output.logits), cut(output.pooled)
    stages = zip(*(cut(stage) for stage in output.stages), strict=True)
    return [Output(*all_three) for all_three in zip(logits, pooled, stages, strict=True)]

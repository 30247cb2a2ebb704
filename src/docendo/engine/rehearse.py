"""The rehearsal: one small batch tells what each frozen network is asked and whom each loss term reaches."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import torch
from torch import Tensor, nn

from docendo.core import Batch, LossTerm, Output, Phase, Staged
from docendo.data import Split
from docendo.engine.networks import Learners, Reads, adaptation_of, as_expected, fit, together
from docendo.errors import WiringError


@dataclass(frozen=True)
class TermPlan:
    """What the rehearsal saw of one loss term.

    Attributes:
        name: "student<teacher:kd".
        weight: its weight at the start of the phase.
        reaches: the parts of learners that its gradient reaches, as "role.part".
        value: its value on the rehearsal's batch.
    """

    name: str
    weight: float
    reaches: tuple[str, ...]
    value: float


@dataclass(frozen=True)
class PhasePlan:
    """What the rehearsal saw of one phase.

    Attributes:
        name: the phase's name.
        parts: the parts of each learner, by role: "stage1" ... "head" of a network, child modules of anything else.
        parameters: the number of parameters of each learner.
        reads: what is read of each frozen network.
        terms: the loss terms.
        idle: names of learner parameters that no term of non-zero weight reaches; they stay as they are in this phase.
        notes: what the learners that are no networks want their user to read, a line each.
    """

    name: str
    parts: Mapping[str, tuple[str, ...]]
    parameters: Mapping[str, int]
    reads: Mapping[str, Reads]
    terms: tuple[TermPlan, ...]
    idle: frozenset[str]
    notes: tuple[str, ...] = ()


def a_few(images: Split) -> Batch:
    """Give the first images of a split, as many as a rehearsal needs, not augmented, but mixed where training mixes."""
    batch = next(images.batches(min(4, len(images))))
    return batch if images.mixing is None else images.mixing(batch, seed=0, number=0)


def rehearsal(images: Split) -> Callable[[Phase], PhasePlan]:
    """Give what rehearses phase after phase on the first images of a training split."""
    batch = a_few(images)

    def rehearsing(phase: Phase) -> PhasePlan:
        fit(phase.learners, len(images))
        return rehearse(phase, batch)

    return rehearsing


def rehearse(phase: Phase, batch: Batch) -> PhasePlan:
    """Run the losses of a phase on copies of its learners and ask autograd whom each term reaches.

    Nothing of the phase changes: no weight, no buffer, no random state.

    Args:
        phase: the phase.
        batch: two or more images, on the device and in the format that the networks take.

    Raises:
        WiringError: no terms or two of the same name; a term that is no finite scalar, or does not reach its learner;
            an unknown role; a learner that was built to stay frozen; no term of non-zero weight, or none for a learner
            that has its turn.
    """
    for role, learner in phase.learners.items():
        if adaptation_of(learner) is not None:
            raise WiringError(
                f'phase "{phase.name}" trains {role}, which was built to stay frozen: build it without frozen=True'
            )
    if phase.views:
        batch = phase.views(batch)
    with torch.random.fork_rng():
        learners = Learners(copy.deepcopy(dict(phase.learners)), phase.losses).to(batch.images.device)
        learners.requires_grad_(True).train()
        parts = {name: _part_of(learners, name) for name, _ in learners.named_parameters()}
        reads: dict[str, Reads] = {role: frozenset() for role in phase.frozen}
        reached: set[str] = set()
        taught: set[str] = set()
        plans: tuple[TermPlan, ...] = ()
        for progress in (1.0, 0.0):  # weights may depend on progress; the plan shows the beginning
            asked, terms = _losses_of(phase, learners, batch._replace(progress=progress))
            plans = tuple(_plan(phase.name, term, learners, parts, reached) for term in terms)
            taught |= {term.role for term in terms if term.weight}
            reads = {role: reads[role] | asked[role] for role in reads}
    if not any(plan.weight for plan in plans):
        raise WiringError(f'phase "{phase.name}" learns nothing: every loss term has weight 0')
    untaught = [role for role in phase.learners if role not in taught]
    if phase.alternating and untaught:
        raise WiringError(
            f'phase "{phase.name}" updates its learners in turn, but no loss term of non-zero weight says that '
            f"{untaught[0]} learns: its turn would change nothing"
        )
    besides = [part for part in phase.learners.values() if not isinstance(part, Staged)]  # `build` shows theirs
    return PhasePlan(
        name=phase.name,
        parts={
            role: tuple(dict.fromkeys(p for p in parts.values() if p.startswith(f"{role}."))) for role in phase.learners
        },
        parameters={role: sum(p.numel() for p in module.parameters()) for role, module in phase.learners.items()},
        reads=reads,
        terms=plans,
        idle=frozenset(parts) - reached,
        notes=tuple(note for part in besides for note in getattr(part, "notes", ())),
    )


def _losses_of(phase: Phase, learners: Learners, batch: Batch) -> tuple[dict[str, Reads], list[LossTerm]]:
    with torch.no_grad():
        frozen = {role: copy.deepcopy(net).to(batch.images.device).eval() for role, net in phase.frozen.items()}
        recorded = {role: _Recorded(net(as_expected(net, batch.images))) for role, net in frozen.items()}
    with torch.enable_grad():
        terms = list(learners(batch, recorded))
    if phase.predictions is not None:
        phase.predictions(together(learners.roles, recorded, batch), batch)
    names = [t.name for t in terms]
    if not terms:
        raise WiringError(f'phase "{phase.name}" has no loss terms: its losses must yield LossTerm(...)')
    twice = next((n for n in names if names.count(n) > 1), None)
    if twice:
        raise WiringError(f'phase "{phase.name}" has two loss terms named {twice}: give them different kinds')
    return {role: frozenset(r.read) for role, r in recorded.items()}, terms


def _plan(phase: str, term: LossTerm, learners: Learners, parts: Mapping[str, str], reached: set[str]) -> TermPlan:
    where = f'phase "{phase}", loss term {term.name}'
    if not isinstance(term.value, Tensor) or term.value.ndim != 0:
        shape = tuple(term.value.shape) if isinstance(term.value, Tensor) else type(term.value).__name__
        raise WiringError(
            f"{where}: the value must be a scalar tensor, but is {shape}; reduce it over batch and classes"
        )
    if not math.isfinite(term.weight) or term.weight < 0:
        raise WiringError(f"{where}: the weight must be a finite number of at least 0, but is {term.weight}")
    named = dict(learners.named_parameters())
    gradients: Sequence[Tensor | None] = [None] * len(named)
    if term.value.requires_grad:
        gradients = torch.autograd.grad(term.value, list(named.values()), retain_graph=True, allow_unused=True)
    touched = {name for name, gradient in zip(named, gradients, strict=True) if gradient is not None}
    if term.weight:
        reached |= touched
    reaches = tuple(dict.fromkeys(parts[name] for name in named if name in touched))
    if not any(part == term.learner or part.startswith(f"{term.learner}.") for part in reaches):
        who = ", ".join(reaches) or "nobody"
        raise WiringError(
            f"{where}: it says that {term.learner} learns, but its gradient reaches {who}; "
            "is something detached, or is a frozen network in the learner's place?"
        )
    return TermPlan(term.name, term.weight, reaches, float(term.value.detach()))


def _part_of(learners: Learners, name: str) -> str:
    """Say which part of a learner a parameter belongs to: "student.stage2", "student.head", "branches.0"."""
    _, role, *path = name.split(".")
    module: Any = learners.roles[role]
    if isinstance(module, Staged):
        parameter = dict(learners.named_parameters())[name]  # by path: a network may call a child "head"
        for i, stage in enumerate(module.stages, start=1):
            if any(parameter is p for p in stage.parameters()):
                return f"{role}.stage{i}"
        return f"{role}.head"
    # The top of a network is none itself, but has stages.
    if path[0] == "stages" and len(path) > 1 and path[1].isdigit():
        return f"{role}.stage{int(path[1]) + 1}"
    named = isinstance(module, nn.ModuleDict)  # its parts have names of their own
    indices = [] if named else [p for p in path[:2] if p.isdigit()]
    return f"{role}.{indices[0] if indices else path[0]}"


class _Recorded:
    """Stands for a frozen network's `Output` and notes what is read of it."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self.read: set[str] = set()

    @property
    def logits(self) -> Tensor:
        self.read.add("logits")
        return self._output.logits

    @property
    def pooled(self) -> Tensor:
        self.read.add("pooled")
        return self._output.pooled

    @property
    def stages(self) -> _RecordedStages:
        return _RecordedStages(self._output.stages, self.read)

    def __iter__(self) -> Iterator[Any]:
        return iter((self.logits, self.pooled, tuple(self.stages)))


class _RecordedStages(Sequence[Tensor]):
    def __init__(self, stages: tuple[Tensor, ...], read: set[str]) -> None:
        self._stages, self._read = stages, read

    def __len__(self) -> int:
        return len(self._stages)

    @overload
    def __getitem__(self, i: int) -> Tensor: ...
    @overload
    def __getitem__(self, i: slice) -> tuple[Tensor, ...]: ...
    def __getitem__(self, i: int | slice) -> Tensor | tuple[Tensor, ...]:
        wanted = range(len(self._stages))[i]
        self._read.update(f"stages.{k}" for k in (wanted if isinstance(wanted, range) else [wanted]))
        return self._stages[i]

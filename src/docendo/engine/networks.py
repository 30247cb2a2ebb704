"""The networks of a phase: learners that train together in one module, frozen ones that only answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from docendo.core import Batch, Losses, LossTerm, Output, Staged
from docendo.data import Adaptation
from docendo.errors import WiringError, nearest

Reads = frozenset[str]
"""What a method reads of a frozen network: "logits", "pooled", "stages.0" ..."""

Answers = Mapping[str, Output]


class Cast:
    """The networks of one step, by role (`docendo.core.Networks`)."""

    def __init__(self, roles: Mapping[str, Callable[..., Any]]) -> None:
        self._roles = roles

    def __getattr__(self, role: str) -> Callable[..., Any]:
        """Give the network in that role."""
        if role in self._roles:
            return self._roles[role]
        raise WiringError(
            f"the losses ask for net.{role}, but this phase has no such role; {nearest(role, self._roles)}"
        )


class Learners(nn.Module):
    """All learners of a phase in one module, from a batch and the frozen networks' answers to loss terms.

    One module, so that whatever wraps training (several processes, a compiler) wraps this and nothing else.

    Args:
        learners: the modules that train, by role.
        losses: yields the loss terms of a batch, as a method's `losses` does.
    """

    def __init__(self, learners: Mapping[str, nn.Module], losses: Losses) -> None:
        super().__init__()
        self.roles = nn.ModuleDict(dict(learners))
        self.losses = losses

    def forward(self, batch: Batch, answers: Mapping[str, Any]) -> Terms:
        """Give the loss terms of one batch.

        Args:
            batch: the batch.
            answers: the `Output` of each frozen network for this batch, by role.
        """
        return Terms(self.losses(together(self.roles, answers, batch), batch))


def together(learners: Any, answers: Mapping[str, Any], batch: Batch) -> Cast:
    """Give the networks of one step by role: learners that answer each batch once, and what frozen networks said.

    Args:
        learners: modules by role.
        answers: what frozen networks said of the batch, by role.
        batch: of the step.
    """
    learning = {role: _once_a_step(module) for role, module in learners.items()}
    return Cast({**learning, **{role: _answering(role, answer, batch) for role, answer in answers.items()}})


class Terms:
    """The loss terms of one batch. No tuple: in one, Fabric would round float64 losses to float32 on the way out."""

    def __init__(self, terms: Iterable[LossTerm]) -> None:
        self._terms = tuple(terms)

    def __iter__(self) -> Iterator[LossTerm]:
        return iter(self._terms)


def _once_a_step(module: nn.Module) -> Callable[..., Any]:
    known: list[tuple[Tensor, Any]] = []

    def call(first: Any, *rest: Any) -> Any:
        if not isinstance(first, Batch):
            return module(first, *rest)
        for images, output in known:
            if images is first.images:
                return output
        known.append((first.images, module(first.images, *rest)))
        return known[-1][1]

    return call


def _answering(role: str, answer: Any, asked: Batch) -> Callable[[Any], Any]:
    def call(about: Any) -> Any:
        if getattr(about, "images", about) is not asked.images:
            raise WiringError(
                f"the losses ask {role}, which is frozen, about other images than those of the batch: let the phase "
                "make them (views=), so that all networks see them"
            )
        return answer

    return call


def fit(learners: Mapping[str, nn.Module], images: int) -> None:
    """Tell the learners that ask for it (`docendo.core.Phase`) how many training images there are."""
    besides: list[Any] = [learner for learner in learners.values() if not isinstance(learner, Staged)]
    for learner in besides:
        if hasattr(learner, "fit_to"):
            learner.fit_to(images)


def freeze(networks: Mapping[str, nn.Module], statistics: Literal["running", "batch"] = "running") -> None:
    """Make networks frozen, which is three facts: no gradient, no optimiser (they are no learners), evaluation mode."""
    for network in networks.values():
        network.requires_grad_(False)
        network.train(statistics == "batch")


def buffers_of(networks: Mapping[str, nn.Module]) -> dict[str, dict[str, Tensor]]:
    """Give the buffers of networks, by role and name."""
    return {role: dict(network.named_buffers()) for role, network in networks.items()}


def set_buffers(networks: Mapping[str, nn.Module], saved: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Set the buffers of networks to what `buffers_of` gave."""
    for role, buffers in buffers_of(networks).items():
        for name, buffer in buffers.items():
            buffer.copy_(saved[role][name])


def lay_out(network: nn.Module, memory_format: torch.memory_format) -> None:
    """Store the weights of a network's convolutions so; `nn.Module.to` would fail on buffers of five dimensions."""
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.to(memory_format=memory_format)


def as_expected(network: nn.Module, images: Tensor) -> Tensor:
    """Give images as a network wants them: adapted by its `adaptation` (`docendo.data.Adaptation`), if it has one."""
    adaptation = adaptation_of(network)
    return images if adaptation is None else adaptation(images)


def adaptation_of(network: nn.Module) -> Adaptation | None:
    """Give what turns images of this run into those that a network expects; None if it expects them as they are."""
    return getattr(network, "adaptation", None)


@contextmanager
def only_learning(learners: nn.Module, idle: Iterable[str]) -> Any:
    """Let every parameter of the learners learn but the idle ones, for the length of a phase."""
    idle = set(idle)
    for name, parameter in learners.named_parameters():
        parameter.requires_grad_(name not in idle)
    try:
        yield
    finally:
        learners.requires_grad_(True)


@torch.no_grad()
def answer(frozen: Mapping[str, nn.Module], reads: Mapping[str, Reads], batch: Batch) -> dict[str, Output]:
    """Let the frozen networks say what the losses will read, as plain tensors; what nobody reads stays None."""
    return {role: _look(network, reads[role], batch) for role, network in frozen.items()}


def _look(network: Any, reads: Reads, batch: Batch) -> Output:
    x: Any = as_expected(network, batch.images)
    seen = []
    to_the_end = reads & {"logits", "pooled"}
    last = max((int(r.partition(".")[2]) for r in reads - {"logits", "pooled"}), default=-1)
    for i, stage in enumerate(network.stages):
        x = stage(x) if to_the_end or i <= last else None
        seen.append(x if f"stages.{i}" in reads else None)
    logits, pooled, _ = network.head(x) if to_the_end else (None, None, ())
    return Output(
        logits if "logits" in reads else None,  # type: ignore[arg-type]
        pooled if "pooled" in reads else None,  # type: ignore[arg-type]
        tuple(seen),  # type: ignore[arg-type]
    )

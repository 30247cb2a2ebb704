"""One step of a phase: what the device does with a batch."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, NamedTuple, cast

from lightning_fabric import Fabric
from torch import Tensor, nn

from docendo.core import Batch, LossTerm, Phase, sharing
from docendo.engine.arithmetic import Arithmetic
from docendo.engine.networks import Answers
from docendo.engine.processes import SynchronisedBatchNorm, gathered, scaled
from docendo.engine.rehearse import PhasePlan
from docendo.engine.settings import TrainSettings
from docendo.engine.side_by_side import Ask, Question, what_it_is
from docendo.engine.state import State
from docendo.engine.teacher_memory import Lap


class Share(NamedTuple):
    """What a batch is of an update of the weights.

    Attributes:
        here: images that this process has read; with views of them it may learn from more.
        images: of the whole batch, over all processes.
        batches: whose gradients make the update.
        last: whether this is the last of them, which the update follows.
    """

    here: int
    images: int
    batches: int = 1
    last: bool = True


@dataclass
class Step:
    """The steps of one phase; `lap` is told which part has just ended, `ask` asks the `live` frozen networks."""

    fabric: Fabric
    settings: TrainSettings
    phase: Phase
    plan: PhasePlan
    live: Mapping[str, nn.Module]
    arithmetic: Arithmetic
    state: State
    module: Any
    ask: Ask
    lap: Lap

    def __post_init__(self) -> None:
        """Prepare what is the same in all steps."""
        self.processes = self.fabric.world_size
        self.what_it_is = cache(lambda role: what_it_is(self.live[role]))
        self.synchronised = self.processes > 1 and self.settings.sync_batchnorm
        self.batch_norm = SynchronisedBatchNorm if self.synchronised else contextlib.nullcontext
        self.turns: tuple[str | None, ...] = tuple(self.phase.learners) if self.phase.alternating else (None,)

    def asked(self, batch: Batch) -> Answers:
        """Give what the frozen networks that answer anew say of a batch."""
        return self.ask(Question(self.live, self.plan.reads, batch, self._as_in_training, self.what_it_is))

    def learn(self, batch: Batch, answers: Answers, share: Share, look: Callable[[], None]) -> list[float]:
        """Learn from one batch; gives the weights of the loss terms.

        Args:
            batch: as all networks see it.
            answers: of all frozen networks.
            share: what the batch is of an update.
            look: is called when the losses are known, before anything learns from them, and again where gradients are
                clipped.
        """
        optimizer, weights = self.state.optimizer, []
        for turn in self.turns:
            with self.fabric.no_backward_sync(self.module, enabled=not share.last):
                with self.arithmetic.convolutions(), self.batch_norm(), sharing(self._gather(share)):
                    terms = tuple(self.module(batch, answers))
                terms = scaled(terms, share.here, share.images, self.processes)
                weights += [term.weight for term in terms]
                loss = self._total(terms, turn)
                self.state.meter.add(terms, loss, only=turn)
                look()
                self.fabric.backward(loss / share.batches if share.batches > 1 else loss)
            self.lap("learners")
            if not share.last:
                continue
            self._keep_gradients_of(turn)
            if self.settings.optimizer.clip:
                # Left to see for itself whether they are finite, Fabric would wait for the device at every step.
                largest = self.settings.optimizer.clip
                norm = self.fabric.clip_gradients(self.module, optimizer, max_norm=largest, error_if_nonfinite=False)
                if self.settings.precision != "16-mixed":  # which passes such steps over
                    self.state.meter.see_gradient(cast(Tensor, norm))
                    look()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if share.last and self.state.ema:
            self.state.ema.update(self.state.learners.roles)
        self.lap("optimizer")
        return weights

    @contextlib.contextmanager
    def _as_in_training(self) -> Iterator[None]:
        with self.arithmetic(), self.batch_norm():
            yield

    def _total(self, terms: tuple[LossTerm, ...], turn: str | None) -> Tensor:
        """Sum the weighted terms of the learner whose turn it is, or all."""
        weighted = [(term.weight if turn in (None, term.role) else 0.0, term.value) for term in terms]
        # DDP waits for a gradient of every parameter: what counts nothing yet, or in another's turn, still counts. So
        # it does where nothing else is there.
        keep_all = self.processes > 1 or not any(weight for weight, _ in weighted)
        return cast(Tensor, sum(weight * value for weight, value in weighted if weight or keep_all))

    def _keep_gradients_of(self, turn: str | None) -> None:
        """Drop the gradients of the learners whose turn it is not, so that the optimiser passes them over."""
        for role, learner in self.state.learners.roles.items():
            if turn not in (None, role):
                learner.zero_grad(set_to_none=True)

    def _gather(self, share: Share) -> Callable[[Tensor], Tensor] | None:
        """Give what puts the rows of all processes together."""
        return partial(gathered, share.here, share.images) if self.processes > 1 else None

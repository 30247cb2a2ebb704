"""Sums of loss terms that stay on the device, and the first term that was no longer finite."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from docendo.core import LossTerm
from docendo.engine.formats import widest
from docendo.engine.processes import average

TOTAL = "total"
"""How the weighted sum of the loss terms is called."""
GRADIENT = "the gradient"
"""How a step's gradient is called where it is not finite, as only those see that are clipped."""


class LossMeter:
    """Adds up the loss terms of an epoch without waiting for the device.

    Args:
        names: the terms, in the order in which they come.
        device: where the sums live.
    """

    def __init__(self, names: Sequence[str], device: torch.device) -> None:
        self.names = tuple(names)
        self._columns = (*names, TOTAL)
        self._sums = torch.zeros(len(self._columns), dtype=widest(device), device=device)
        self._bad_step = self._sums.new_full((len(self._columns) + 1,), math.inf)
        self._step = torch.zeros_like(self._sums[0])
        self._count = 0

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """What `add` and `see_gradient` change; always the same tensors."""
        return self._sums, self._bad_step

    def reset(self) -> None:
        """Begin an epoch."""
        self._sums.zero_()
        self._bad_step.fill_(math.inf)
        self._count = 0

    def begin(self, step: int) -> None:
        """Say which batch of the epoch comes next; it is remembered for values that are not finite."""
        self._step.fill_(step)
        self._count += 1

    def add(self, terms: Sequence[LossTerm], total: Tensor, *, only: str | None = None) -> None:
        """Add the values of a batch that has begun and their weighted sum; done by the device alone.

        Args:
            terms: the loss terms.
            total: their weighted sum.
            only: the role whose terms count, where learners take turns and each looks at the batch anew.
        """
        counted = [term.value.detach() if only in (None, term.role) else torch.zeros_like(total) for term in terms]
        values = torch.stack([*counted, total.detach()]).to(self._sums.dtype)
        self._see(values, self._bad_step[:-1])
        self._sums += values

    def see_gradient(self, norm: Tensor) -> None:
        """Take notice of whether the gradient of this step is finite, by its norm; done by the device alone."""
        self._see(norm.detach().to(self._sums.dtype), self._bad_step[-1])

    def _see(self, values: Tensor, bad_step: Tensor) -> None:
        torch.minimum(bad_step, torch.where(values.isfinite(), math.inf, self._step), out=bad_step)

    def means(self, fabric: Fabric | None = None) -> dict[str, float]:
        """Give the mean of each term, and of the `TOTAL`, so far in this epoch; waits for the device.

        Args:
            fabric: takes the mean over all its processes, which must all ask; without it, this one's is given.
        """
        sums = average(fabric, self._sums) if fabric is not None else self._sums
        return dict(zip(self._columns, (sums / max(self._count, 1)).tolist(), strict=True))

    def first_bad(self) -> tuple[int, str] | None:
        """Give step and name of the first loss term or gradient that was not finite, or None; waits for the device."""
        step, place = self._bad_step.min(dim=0)
        called = [*(f"loss term {name}" for name in self._columns), GRADIENT]
        return None if math.isinf(step.item()) else (int(step.item()), called[int(place.item())])

    def state(self) -> dict[str, Any]:
        """Give what a checkpoint needs."""
        return {"sums": self._sums.cpu(), "count": self._count}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self._sums.copy_(state["sums"])
        self._count = state["count"]

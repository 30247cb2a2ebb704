"""How a row of logits is stored: whole, or its largest ones and what the others share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from docendo.engine.formats import widest


class Packing(Protocol):
    """Turns logits into bytes and back, each row for itself.

    Attributes:
        bytes: of a row.
    """

    @property
    def bytes(self) -> int:  # noqa: D102
        ...

    def pack(self, logits: Tensor) -> Tensor:
        """Give (N, bytes), uint8, for (N, K)."""
        ...

    def unpack(self, rows: Tensor) -> Tensor:
        """Give (N, K) for (N, bytes), uint8."""
        ...


@dataclass(frozen=True)
class Whole:
    """All logits, bit for bit.

    Attributes:
        classes: K.
        dtype: of the logits.
    """

    classes: int
    dtype: torch.dtype

    @property
    def bytes(self) -> int:
        """Bytes of a row."""
        return self.classes * self.dtype.itemsize

    def pack(self, logits: Tensor) -> Tensor:
        """Give the bytes of logits (N, K)."""
        return logits.contiguous().view(torch.uint8)

    def unpack(self, rows: Tensor) -> Tensor:
        """Give the logits of bytes (N, bytes)."""
        return _numbers(rows, self.dtype)


@dataclass(frozen=True)
class Largest:
    """The largest logits, and one for all others: that which leaves them their part of the probability, shared evenly.

    So probabilities at temperature 1 are right for the classes kept and for the rest as a whole.

    Attributes:
        kept: k, how many are kept, below K.
        classes: K.
        dtype: of the logits.

    >>> logits = torch.tensor([[3.0, 1.0, 0.0, 1.0]])
    >>> packing = Largest(1, 4, torch.float32)
    >>> found = packing.unpack(packing.pack(logits))
    >>> torch.allclose(found.softmax(1)[0, 0], logits.softmax(1)[0, 0]), float(found[0, 1]) == float(found[0, 2])
    (True, True)
    """

    kept: int
    classes: int
    dtype: torch.dtype

    @property
    def bytes(self) -> int:
        """Bytes of a row: k logits and the others', and k places."""
        return (self.kept + 1) * self.dtype.itemsize + self.kept * self._place.itemsize

    @property
    def _place(self) -> torch.dtype:
        return torch.int16 if self.classes <= 2**15 else torch.int32

    def pack(self, logits: Tensor) -> Tensor:
        """Give the bytes of logits (N, K)."""
        values, places = logits.topk(self.kept, dim=1)
        others = logits.to(widest(logits.device)).scatter(1, places, -math.inf).logsumexp(1, keepdim=True)
        shared = (others - math.log(self.classes - self.kept)).to(self.dtype)
        parts = (values, shared, places.to(self._place))
        return torch.cat([part.contiguous().view(torch.uint8) for part in parts], dim=1)

    def unpack(self, rows: Tensor) -> Tensor:
        """Give the logits of bytes (N, bytes)."""
        first = (self.kept + 1) * self.dtype.itemsize
        values = _numbers(rows[:, :first], self.dtype)
        places = _numbers(rows[:, first:], self._place).long().clamp(0, self.classes - 1)  # rows may be damaged
        everywhere = values[:, -1:].repeat(1, self.classes)
        return everywhere.scatter_(1, places, values[:, :-1])


def _numbers(rows: Tensor, dtype: torch.dtype) -> Tensor:
    """Read bytes (N, bytes) as numbers; a row of a wider tensor may begin, or lie, where `view` would not take it."""
    return rows.reshape(-1).clone().view(dtype).view(len(rows), -1)

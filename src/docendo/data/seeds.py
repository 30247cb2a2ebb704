"""Seeds that say what they are for: every random choice has its own generator, named by what it decides."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from docendo.splitmix import scattered


def seed_for(*parts: int | str) -> int:
    """Turn the name of a random choice into a seed.

    The same parts give the same seed on every machine; different parts, also `("ab",)` and `("a", "b")` or `(1,)` and
    `("1",)`, give unrelated ones.

    Args:
        parts: what the choice depends on: `seed_for(run_seed, "student", epoch, "order")`.

    Returns:
        An integer in [0, 2**63).

    >>> seed_for(0, "student") == seed_for(0, "student") != seed_for(1, "student")
    True
    """
    encoded = "".join(f"{'i' if isinstance(part, int) else 's'}{len(str(part))}:{part}" for part in parts)
    digest = hashlib.blake2b(encoded.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def generator(*parts: int | str) -> torch.Generator:
    """Give a CPU generator seeded by `seed_for(*parts)`."""
    return torch.Generator().manual_seed(seed_for(*parts))


def hashed(ids: Tensor, *parts: int | str) -> Tensor:
    """Draw an integer for each id: a pure function of the id and of what is drawn, the same on every device.

    Args:
        ids: int64, at least 0, of any shape.
        parts: what is drawn, as for `seed_for`; other parts give unrelated numbers.

    Returns:
        Of the same shape, int64, in [0, 2**62), all about equally likely.

    >>> ids = torch.arange(4)
    >>> bool((hashed(ids, "top") == hashed(ids, "left")).any())
    False
    """
    return scattered(ids + seed_for(*parts)) & 2**62 - 1

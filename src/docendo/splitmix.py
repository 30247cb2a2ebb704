"""Whole numbers scattered the same way on every device: the last steps of SplitMix64."""

from __future__ import annotations

from torch import Tensor


def scattered(x: Tensor) -> Tensor:
    """Turn whole numbers into others that show nothing of their order, one to one.

    Args:
        x: int64, of any shape.

    Returns:
        Of the same shape, int64, of either sign.

    References:
        Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014.

    >>> import torch
    >>> len(scattered(torch.arange(1000)).unique())
    1000
    """
    # Whole numbers of 64 bits wrap around; the masks clear the copies of the sign that a shift to the right draws in.
    x = (x ^ (x >> 30 & 2**34 - 1)) * -0x40A7B892E31B1A47
    x = (x ^ (x >> 27 & 2**37 - 1)) * -0x6B2FB644ECCEEE15
    return x ^ (x >> 31 & 2**33 - 1)

"""How many seeds it takes to see a difference."""

from __future__ import annotations

import math
from bisect import bisect_left

from scipy.special import nctdtr, stdtrit

MOST_SEEDS = 100
"""A difference that needs more seeds than this is out of reach: how many more is not said."""


def power(effect: float, seeds: int, *, paired: bool = True, level: float = 0.95) -> float:
    """Give the chance that a t test sees a difference, with its true sign.

    power = P(T > t),   T noncentral t of k * (n - 1) degrees of freedom around |effect| * sqrt(n / k)

    with k = 1 sample of differences if paired, else 2 samples, and t the (1 + level) / 2 quantile of Student's t.

    Args:
        effect: the true mean difference in standard deviations: of the paired differences if paired, else of each
            method.
        seeds: n, of each method, 2 or more.
        paired: whether the methods share seeds, data order and starting weights.
        level: 1 - level is the chance to call equal methods different.

    Returns:
        In [0, 1]; half of 1 - level where there is no effect.

    References:
        Cohen: Statistical Power Analysis for the Behavioral Sciences, 1988, chapter 2.

    >>> round(power(1.0, 10), 3), round(power(0.0, 10), 3)
    (0.803, 0.025)
    """
    samples = 1 if paired else 2
    freedom = samples * (seeds - 1)
    # Beyond 37 the noncentral t underflows to NaN; at 30 the chance is near 1, but for two seeds at a strict level.
    center = min(abs(effect) * math.sqrt(seeds / samples), 30.0)
    return 1.0 - float(nctdtr(freedom, center, stdtrit(freedom, (1 + level) / 2)))


def seeds_needed(effect: float, *, paired: bool = True, level: float = 0.95, chance: float = 0.8) -> int | None:
    """Give the smallest number of seeds (of each method) that sees a difference with the given chance.

    An effect that was itself measured with few seeds is known badly, and so is this: "about", at best.

    Args:
        effect: as for `power`.
        paired: as for `power`.
        level: as for `power`.
        chance: of seeing it, in (0, 1).

    Returns:
        2 or more; None if it is more than `MOST_SEEDS`.

    >>> seeds_needed(0.5), seeds_needed(0.5, paired=False), seeds_needed(0.1)
    (34, 64, None)
    """
    numbers = range(2, MOST_SEEDS + 1)
    at = bisect_left(numbers, True, key=lambda n: power(effect, n, paired=paired, level=level) >= chance)
    return numbers[at] if at < len(numbers) else None

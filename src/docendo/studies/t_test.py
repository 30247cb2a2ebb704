"""Student's t test of one sample of differences, and Welch's of two samples, as one: a sum of independent variances."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from scipy.special import stdtr, stdtrit


class Evidence(NamedTuple):
    """What a t test says of a difference; None where it can say nothing.

    Attributes:
        std: the root of the mean variance of the samples, as measured.
        spread: the same, with no standard deviation below the resolution.
        margin: half the interval, which is difference ± margin.
        p_value: of no difference, two-sided.
        effect: difference / spread with Hedges' correction.
    """

    std: float | None = None
    spread: float | None = None
    margin: float | None = None
    p_value: float | None = None
    effect: float | None = None


def t_test(
    difference: float, stds: Sequence[float | None], sizes: Sequence[int], *, resolution: float, level: float
) -> Evidence:
    """Test a difference that is the mean of one sample, or the difference of the means of two.

    t = difference / sqrt(sum_k s_k^2 / n_k),   s_k = max(std_k, resolution)

    Args:
        difference: exactly 0 if there is none.
        stds: standard deviation of each sample with n_k - 1 degrees of freedom; None of one value.
        sizes: n_k.
        resolution: the least spread, 0 or more.
        level: of the interval, in (0, 1).

    Returns:
        Nothing if a sample has one value. Without spread and resolution, p value 1 and effect 0 if there is no
        difference, and neither if there is one. No effect of fewer than two degrees of freedom, where Hedges'
        correction goes to 0.

    >>> t_test(0.9, [0.1732], [3], resolution=0, level=0.95).p_value < 0.05
    True
    """
    known = [std for std in stds if std is not None]
    if len(known) < len(stds):
        return Evidence()
    variances = [max(std, resolution) ** 2 for std in known]
    std, spread = (math.sqrt(statistics.fmean(squares)) for squares in ([s**2 for s in known], variances))
    if spread == 0:
        return Evidence(std, spread, p_value=1.0, effect=0.0) if difference == 0 else Evidence(std, spread)
    of_means = [variance / n for variance, n in zip(variances, sizes, strict=True)]
    error = math.sqrt(sum(of_means))
    freedom = _freedom(of_means, sizes)
    freedom_of_spread = _freedom(variances, sizes)
    return Evidence(
        std,
        spread,
        margin=float(stdtrit(freedom, (1 + level) / 2)) * error,
        p_value=2 * float(stdtr(freedom, -abs(difference) / error)),
        effect=hedges(freedom_of_spread) * difference / spread if freedom_of_spread >= 2 else None,
    )


def hedges(freedom: float) -> float:
    """Give Hedges' J, by which an effect size is multiplied, as the spread of few seeds is often far too small.

    J(m) = Gamma(m / 2) / (sqrt(m / 2) * Gamma((m - 1) / 2))

    Args:
        freedom: m, degrees of freedom of the spread, above 1.

    >>> round(hedges(2), 4), round(hedges(4), 4), round(hedges(9), 4)
    (0.5642, 0.7979, 0.9139)
    """
    return math.exp(math.lgamma(freedom / 2) - math.lgamma((freedom - 1) / 2)) / math.sqrt(freedom / 2)


def _freedom(variances: Sequence[float], sizes: Sequence[int]) -> float:
    """Give the degrees of freedom of a sum of independent variances, by Satterthwaite: n - 1 of one."""
    if len(sizes) == 1:
        return sizes[0] - 1
    squares = sum(variance**2 / (n - 1) for variance, n in zip(variances, sizes, strict=True))
    return sum(variances) ** 2 / squares

"""What a few seeds say of one method: mean, spread and how well the mean is known."""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from scipy.special import stdtrit

from docendo.errors import DocendoError

ROUNDING = 1e-9
"""Values whose differences are below this part of the largest are equal: the rest is float arithmetic."""


@dataclass(frozen=True)
class Summary:
    """One measure of one method over seeds, in the unit of its values.

    Attributes:
        seeds: how many, 1 or more.
        mean: of the values.
        std: standard deviation with seeds - 1 degrees of freedom; None of one seed.
        margin: half the t interval, which is mean ± margin; None of one seed, or of equal values of unknown resolution.
        level: of the interval, in (0, 1).
    """

    seeds: int
    mean: float
    std: float | None
    margin: float | None
    level: float


def summarize(values: Mapping[int, float], *, resolution: float = 0.0, level: float = 0.95) -> Summary:
    """Summarise one measure of one method.

    margin = t * max(std, resolution) / sqrt(n),   t = the (1 + level) / 2 quantile of Student's t with n - 1 degrees

    It covers the mean over all seeds there could be, for this teacher and these test images, if values are about
    normal over seeds. A bootstrap needs no such belief, but is far too narrow for 3 to 5 seeds.

    Args:
        values: one a seed, by seed.
        resolution: the step in which the measure is counted, 0 if it is continuous; see `compare`.
        level: of the interval, in (0, 1).

    Raises:
        DocendoError: no values, one that is not finite, a resolution or level out of range.

    >>> of_three = summarize({0: 70.0, 1: 71.0, 2: 72.0})
    >>> of_three.mean, of_three.std, round(of_three.margin, 4)
    (71.0, 1.0, 2.4841)
    >>> summarize({0: 70.0})
    Summary(seeds=1, mean=70.0, std=None, margin=None, level=0.95)
    """
    refuse_bad_settings(resolution, level)
    refuse_bad_values("the method", values)
    sample = list(values.values())
    std = deviation(sample, sample)
    margin = None
    if std is not None and max(std, resolution) > 0:
        n = len(sample)
        margin = float(stdtrit(n - 1, (1 + level) / 2)) * max(std, resolution) / math.sqrt(n)
    return Summary(len(sample), statistics.fmean(sample), std, margin, level)


def deviation(sample: Sequence[float], measured: Collection[float]) -> float | None:
    """Give the standard deviation with n - 1 degrees of freedom.

    Args:
        sample: values, or differences of values.
        measured: what they were computed from, whose size says what rounding is.

    Returns:
        None of one value; exactly 0 of values that are equal but for rounding.

    >>> deviation([0.3 - 0.2, 0.2 - 0.1], [0.1, 0.2, 0.3])
    0.0
    """
    if len(sample) < 2:
        return None
    alike = max(sample) - min(sample) <= ROUNDING * max(map(abs, measured))
    return 0.0 if alike else statistics.stdev(sample)


def refuse_bad_values(who: str, values: Mapping[int, float]) -> None:
    """Refuse a method without values, or with one that is no number."""
    if not values:
        raise DocendoError(f"{who} has no values, but a mean needs one: finish a run of one seed or more")
    for seed, value in values.items():
        if not math.isfinite(value):
            raise DocendoError(
                f"{who} has {value} for seed {seed}, but a mean needs numbers: leave that seed out and say so"
            )


def refuse_bad_settings(resolution: float, level: float) -> None:
    """Refuse what is no step or no level of confidence."""
    if not 0 <= resolution < math.inf:
        raise DocendoError(f"resolution is {resolution}, but a step is 0 or more: give 100 / test images for points")
    if not 0 < level < 1:
        raise DocendoError(f"level is {level}, but must lie between 0 and 1: give 0.95 for 95%")

"""A method against a baseline over few seeds: the difference, and how well it is known."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from docendo.studies.power import seeds_needed
from docendo.studies.summary import ROUNDING, deviation, refuse_bad_settings, refuse_bad_values
from docendo.studies.t_test import t_test


@dataclass(frozen=True)
class Comparison:
    """A method less its baseline, in the unit of their values; no field is NaN.

    Attributes:
        paired: whether the differences of common seeds were tested; else the two samples, by Welch's test.
        seeds: how many of the method's were compared.
        baseline_seeds: how many of the baseline's; as many if paired.
        left_out: seeds that only one of the two has, which a paired comparison cannot use.
        difference: mean of the method less mean of the baseline.
        std: of the paired differences; unpaired, the root of the mean of both variances; None where one has one seed.
        spread: what the test took for it, no smaller than the resolution; None as above.
        margin: half the t interval of this comparison alone, which is difference ± margin; None without a spread.
        level: of the interval, in (0, 1); a difference is seen where `p_adjusted` is below 1 - level.
        p_value: of no difference; None where no test can tell.
        p_adjusted: the same, corrected for `comparisons`.
        comparisons: how many methods were tested against this baseline.
        effect: difference / spread, corrected for few seeds; 0 where all are equal; None where there is a difference
            without a spread, or a spread of 2 seeds.
        seeds_needed: of each method, to see this effect with a chance of 80%; None where that is more than
            `MOST_SEEDS`, and where the effect is None.
    """

    paired: bool
    seeds: int
    baseline_seeds: int
    left_out: int
    difference: float
    std: float | None
    spread: float | None
    margin: float | None
    level: float
    p_value: float | None
    p_adjusted: float | None
    comparisons: int
    effect: float | None
    seeds_needed: int | None


def compare(
    method: Mapping[int, float],
    baseline: Mapping[int, float],
    *,
    paired: bool = True,
    resolution: float = 0.0,
    level: float = 0.95,
) -> Comparison:
    """Compare a method with a baseline by a two-sided t test.

    Paired:   t = mean(d) / (s / sqrt(n)),   d_i = method_i - baseline_i over common seeds, n - 1 degrees of freedom
    Unpaired: t = difference / sqrt(s1^2 / n1 + s2^2 / n2),   Welch's degrees of freedom

    with s = max(standard deviation, resolution). The effect size is mean(d) / s, Cohen's d_z; unpaired, difference /
    sqrt((s1^2 + s2^2) / 2); both times Hedges' J, without which few seeds flatter (J is 0.56 for three).

    What it says holds for the seeds there could be, with this teacher and these test images; other images are another
    question. Differences should be about normal over seeds.

    Why no spread is below the resolution: accuracy is counted in images, so a few seeds can all differ by the very
    same number of them. A standard deviation of 0 would make any difference certain: with two seeds that hardly
    spread, up to one in eight studies of identical methods would be called different. With one image as the least
    spread it is at most about 5%, and one image more in every seed is a difference from 7 seeds on (an exact sign
    test needs 6), three images from 3 seeds on. Without a resolution, differences that are equal leave nothing to
    test by: the p value is then 1 if all are 0, and else None.

    Args:
        method: one value a seed, by seed.
        baseline: likewise.
        paired: whether equal seeds mean equal data order and starting weights, where methods allow it. If not, or if
            no seed is common, all seeds are compared unpaired; so they are if one seed alone is common and both have
            others, as one difference has no spread.
        resolution: the step in which the measure is counted, in its unit: 100 / test images for accuracy in points; 0
            for a continuous one.
        level: of the interval, in (0, 1).

    Returns:
        What was compared and seen; `judge` puts it into words.

    Raises:
        DocendoError: no values, one that is not finite, a resolution or level out of range.

    References:
        Welch: The generalization of "Student's" problem, Biometrika 34, 1947.
        Hedges: Distribution theory for Glass's estimator of effect size, Journal of Educational Statistics 6, 1981.
        Delacre et al.: Why Hedges' g*s based on the non-pooled standard deviation should be reported with Welch's
        t-test, PsyArXiv, 2021, for the unpaired effect size.

    >>> seen = compare({0: 71.0, 1: 71.4, 2: 71.5}, {0: 70.2, 1: 70.3, 2: 70.7, 3: 69.0})
    >>> seen.seeds, seen.left_out, round(seen.difference, 4), round(seen.margin, 4), round(seen.p_value, 4)
    (3, 1, 0.9, 0.4303, 0.0121)
    """
    refuse_bad_settings(resolution, level)
    refuse_bad_values("the method", method)
    refuse_bad_values("the baseline", baseline)
    common = sorted(method.keys() & baseline.keys())
    paired = paired and (len(common) > 1 or (len(common) == 1 and min(len(method), len(baseline)) == 1))
    ours = [method[seed] for seed in common] if paired else list(method.values())
    theirs = [baseline[seed] for seed in common] if paired else list(baseline.values())

    difference = statistics.fmean(ours) - statistics.fmean(theirs)
    if abs(difference) <= ROUNDING * max(map(abs, ours + theirs)):
        difference = 0.0
    samples = [[a - b for a, b in zip(ours, theirs, strict=True)]] if paired else [ours, theirs]
    stds = [deviation(sample, ours + theirs) for sample in samples]
    evidence = t_test(difference, stds, [len(sample) for sample in samples], resolution=resolution, level=level)
    return Comparison(
        paired=paired,
        seeds=len(ours),
        baseline_seeds=len(theirs),
        left_out=len(method.keys() ^ baseline.keys()) if paired else 0,
        difference=difference,
        std=evidence.std,
        spread=evidence.spread,
        margin=evidence.margin,
        level=level,
        p_value=evidence.p_value,
        p_adjusted=evidence.p_value,
        comparisons=1,
        effect=evidence.effect,
        seeds_needed=None if evidence.effect is None else seeds_needed(evidence.effect, paired=paired, level=level),
    )

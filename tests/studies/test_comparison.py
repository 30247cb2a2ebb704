"""Summaries and comparisons against SciPy and closed forms, and what is said where there is nothing to divide by."""

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from itertools import product

import numpy as np
import pytest
from scipy import stats

from docendo.errors import DocendoError
from docendo.studies import compare, compare_all, holm, summarize

OURS = {0: 71.3, 1: 70.1, 2: 71.9, 3: 70.8, 4: 72.4}
THEIRS = {0: 70.2, 1: 69.8, 2: 70.5, 3: 70.9, 4: 70.1}
LEVELS = (0.8, 0.95, 0.99)


def each(seeds: int, value: float) -> dict[int, float]:
    return dict.fromkeys(range(seeds), value)


def sample(values: Mapping[int, float]) -> list[float]:
    return list(values.values())


@pytest.mark.parametrize("level", LEVELS)
def test_summary_is_scipys(level: float) -> None:
    of_five = summarize(OURS, level=level)
    low, high = stats.t.interval(level, 4, loc=of_five.mean, scale=stats.sem(sample(OURS)))
    assert of_five.mean == pytest.approx(np.mean(sample(OURS)))
    assert of_five.std == pytest.approx(np.std(sample(OURS), ddof=1))
    assert (of_five.seeds, of_five.margin) == (5, pytest.approx((high - low) / 2))


@pytest.mark.parametrize("level", LEVELS)
def test_paired_is_scipys_paired_test(level: float) -> None:
    seen = compare(OURS, THEIRS, level=level)
    by_scipy = stats.ttest_rel(sample(OURS), sample(THEIRS))
    interval = by_scipy.confidence_interval(level)
    assert seen.paired
    assert seen.difference == pytest.approx((interval.low + interval.high) / 2)
    assert seen.margin == pytest.approx((interval.high - interval.low) / 2)
    assert seen.p_value == seen.p_adjusted == pytest.approx(by_scipy.pvalue)
    assert seen.std == seen.spread == pytest.approx(np.std(np.subtract(sample(OURS), sample(THEIRS)), ddof=1))
    # t = d * sqrt(n), and J(4) = Gamma(2) / (sqrt(2) * Gamma(3 / 2)) = sqrt(2 / pi)
    assert seen.effect == pytest.approx(by_scipy.statistic / math.sqrt(5) * math.sqrt(2 / math.pi))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_unpaired_is_scipys_welch_test(level: float, seeds: int) -> None:
    theirs = {seed + 10: value for seed, value in THEIRS.items() if seed < seeds}
    seen = compare(OURS, theirs, level=level)
    by_scipy = stats.ttest_ind(sample(OURS), sample(theirs), equal_var=False)
    interval = by_scipy.confidence_interval(level)
    assert not seen.paired
    assert (seen.seeds, seen.baseline_seeds, seen.left_out) == (5, seeds, 0)
    assert seen.difference == pytest.approx((interval.low + interval.high) / 2)
    assert seen.margin == pytest.approx((interval.high - interval.low) / 2)
    assert seen.p_value == pytest.approx(by_scipy.pvalue)


def test_unpaired_effect_of_equal_numbers_of_seeds() -> None:
    """Then Welch's degrees of freedom are those of the mean variance, and t = effect * sqrt(n / 2)."""
    seen = compare(OURS, THEIRS, paired=False)
    by_scipy = stats.ttest_ind(sample(OURS), sample(THEIRS), equal_var=False)
    df = by_scipy.df
    bessel = math.gamma(df / 2) / (math.sqrt(df / 2) * math.gamma((df - 1) / 2))
    assert seen.effect == pytest.approx(by_scipy.statistic / math.sqrt(2.5) * bessel)


def test_common_seeds_are_compared_alone() -> None:
    more = compare({**OURS, 7: 0.0, 8: 100.0}, {9: 50.0, **dict(reversed(THEIRS.items()))})
    assert more.left_out == 3
    assert replace(more, left_out=0) == compare(OURS, THEIRS)


def test_one_common_seed_is_not_preferred_to_all() -> None:
    shifted = {seed + 4: value for seed, value in THEIRS.items()}
    assert compare(OURS, shifted) == compare(OURS, THEIRS, paired=False)


@pytest.mark.parametrize(
    ("ours", "theirs"), [({3: 71.0}, {3: 70.0}), ({3: 71.0}, {1: 90.0, 3: 70.0}), ({1: 71.0}, {0: 70.0})]
)
def test_one_seed_gives_a_difference_alone(ours: dict[int, float], theirs: dict[int, float]) -> None:
    seen = compare(ours, theirs)
    assert seen.difference == 1.0
    known = {name for name, value in asdict(seen).items() if value is not None}
    assert known == {"paired", "seeds", "baseline_seeds", "left_out", "difference", "level", "comparisons"}


def test_one_seed_has_no_interval() -> None:
    one = summarize({4: 70.0}, resolution=0.01)
    assert (one.mean, one.std, one.margin) == (70.0, None, None)


@pytest.mark.parametrize("resolution", [0.0, 0.01])
@pytest.mark.parametrize("paired", [True, False])
def test_equal_values_are_no_difference(paired: bool, resolution: float) -> None:
    seen = compare(each(3, 70.1), each(3, 70.1), paired=paired, resolution=resolution)
    assert (seen.difference, seen.std, seen.p_value, seen.effect, seen.seeds_needed) == (0, 0, 1, 0, None)
    assert (seen.margin is None) == (resolution == 0)


def test_rounding_is_no_spread() -> None:
    """In floats 0.1 + 0.2 is more than 0.3, and 0.7 - 0.6 not 0.8 - 0.7."""
    equal = compare({0: 0.1 + 0.2, 1: 0.7}, {0: 0.3, 1: 0.7})
    assert (equal.difference, equal.std, equal.p_value) == (0, 0, 1)
    assert compare({0: 0.7, 1: 0.8}, {0: 0.6, 1: 0.7}).p_value is None
    assert compare({0: 0.7, 1: 0.8}, {0: 0.6, 1: 0.7 + 1e-8}).p_value is not None


def test_differences_without_spread_need_a_resolution() -> None:
    seen = compare(each(3, 71.0), each(3, 70.0))
    assert (seen.difference, seen.std, seen.spread) == (1, 0, 0)
    assert {seen.margin, seen.p_value, seen.p_adjusted, seen.effect, seen.seeds_needed} == {None}
    by_step = compare(each(3, 71.0), each(3, 70.0), resolution=0.1)
    assert (by_step.std, by_step.spread) == (0, 0.1)
    assert by_step.p_value == pytest.approx(2 * stats.t.sf(10 * math.sqrt(3), 2))
    assert by_step.margin == pytest.approx(stats.t.ppf(0.975, 2) * 0.1 / math.sqrt(3))


def test_a_repeated_image_counts_less_than_in_a_sign_test() -> None:
    """The exact sign test of n equal signs has p = 2^(1 - n)."""
    for seeds in range(2, 12):
        p_value = compare(each(seeds, 1.0), each(seeds, 0.0), resolution=1.0).p_value
        assert p_value is not None
        assert (p_value < 0.05) == (seeds >= 7)
        assert p_value > min(0.2, 2.0 ** (1 - seeds))


def test_resolution_changes_nothing_below_the_spread() -> None:
    assert compare(OURS, THEIRS, resolution=0.01) == compare(OURS, THEIRS)
    assert summarize(OURS, resolution=0.01) == summarize(OURS)


def test_changed_sides_change_the_sign_alone() -> None:
    there, back = compare(OURS, THEIRS), compare(THEIRS, OURS)
    assert there.effect is not None
    assert back == replace(there, difference=-there.difference, effect=-there.effect)


def test_two_seeds_give_no_effect_size() -> None:
    """Hedges' correction is 0 at one degree of freedom."""
    seen = compare({0: 1.0, 1: 2.0}, {0: 0.5, 1: 1.2})
    assert (seen.effect, seen.seeds_needed) == (None, None)
    assert seen.p_value == pytest.approx(stats.ttest_rel([1.0, 2.0], [0.5, 1.2]).pvalue)


@pytest.mark.parametrize("resolution", [0.0, 0.01, 10.0])
def test_no_study_gives_nan(resolution: float) -> None:
    studies = [{0: 1.0}, each(2, 1.0), each(3, 0.0), each(3, 1e-300), {0: 1e12, 1: -1e12}, {5: 3.0, 6: 4.0}, OURS]
    for ours, theirs, paired in product(studies, studies, (True, False)):
        seen = asdict(compare(ours, theirs, paired=paired, resolution=resolution))
        assert all(value is None or math.isfinite(value) for value in seen.values()), (ours, theirs, paired)


def test_holm() -> None:
    adjusted = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    assert adjusted == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02})
    assert list(adjusted) == ["a", "b", "c", "d"]
    assert holm({"a": 0.9, "b": 0.8}) == {"a": 1.0, "b": 1.0}
    assert holm({}) == {}


def test_many_are_corrected_and_one_is_not() -> None:
    values = {"far": OURS, "near": {0: 70.4, 1: 69.9, 2: 70.3, 3: 71.2, 4: 70.0}, "one": {0: 70.0}}
    alone = {name: compare(of_method, THEIRS) for name, of_method in values.items()}
    together = compare_all(values, THEIRS)
    assert together["one"] == replace(alone["one"], comparisons=2)
    assert together["far"].p_adjusted == pytest.approx(2 * (alone["far"].p_value or 0))
    assert together["near"].p_adjusted == alone["near"].p_value
    for name in ("far", "near"):
        assert together[name].comparisons == 2
        assert together[name].margin == alone[name].margin
        assert (together[name].seeds_needed or 101) >= (alone[name].seeds_needed or 101)
    assert compare_all({"far": OURS}, THEIRS) == {"far": alone["far"]}
    assert compare_all({}, THEIRS) == {}


def test_what_cannot_be_compared_is_refused() -> None:
    nothing = "has no values, but a mean needs one: finish a run of one seed or more"
    with pytest.raises(DocendoError, match=f"^the method {nothing}$"):
        compare({}, THEIRS)
    with pytest.raises(DocendoError, match=f"^the baseline {nothing}$"):
        compare(OURS, {})
    nan = 'method "kd" has nan for seed 3, but a mean needs numbers: leave that seed out and say so'
    with pytest.raises(DocendoError, match=f"^{re.escape(nan)}$"):
        compare_all({"kd": {0: 1.0, 3: math.nan}}, THEIRS)
    with pytest.raises(DocendoError, match=r"^level is 95, but must lie between 0 and 1: give 0\.95 for 95%$"):
        compare(OURS, THEIRS, level=95)
    with pytest.raises(DocendoError, match=r"^resolution is -1, but a step is 0 or more: give 100 / test images"):
        summarize(OURS, resolution=-1)

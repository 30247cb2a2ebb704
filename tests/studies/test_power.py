"""Seeds needed, against published tables and SciPy's noncentral t."""

import math

import pytest
from scipy import stats

from docendo.studies import MOST_SEEDS, power, seeds_needed


@pytest.mark.parametrize(
    ("effect", "paired", "seeds"),
    [(0.5, True, 34), (0.8, True, 15), (1.0, True, 10), (0.5, False, 64), (0.8, False, 26), (1.0, False, 17)],
)
def test_seeds_needed_are_those_of_published_tables(effect: float, paired: bool, seeds: int) -> None:
    """Two-sided at 5%, power 80%: the numbers of Cohen's tables and of common power calculators."""
    assert seeds_needed(effect, paired=paired) == seeds
    assert seeds_needed(-effect, paired=paired) == seeds


@pytest.mark.parametrize("effect", [0.0, 0.3, 1.0, 3.0])
@pytest.mark.parametrize("seeds", [2, 3, 5, 30])
def test_power_is_scipys_noncentral_t(effect: float, seeds: int) -> None:
    limit = stats.t.ppf(0.995, seeds - 1)
    expected = stats.nct.sf(limit, seeds - 1, effect * math.sqrt(seeds))
    assert power(effect, seeds, level=0.99) == pytest.approx(expected, abs=1e-6)
    limit = stats.t.ppf(0.975, 2 * seeds - 2)
    expected = stats.nct.sf(limit, 2 * seeds - 2, effect * math.sqrt(seeds / 2))
    assert power(effect, seeds, paired=False) == pytest.approx(expected, abs=1e-6)


def test_the_smallest_number_is_found() -> None:
    for effect in (0.29, 0.5, 2.0, 6.0):
        seeds = seeds_needed(effect)
        assert seeds is not None
        assert power(effect, seeds) >= 0.8 > power(effect, seeds - 1)


def test_extreme_effects() -> None:
    assert seeds_needed(0.0) is seeds_needed(0.1) is None
    assert seeds_needed(12.0) == seeds_needed(1e9) == 2
    assert power(1e9, MOST_SEEDS) == pytest.approx(1.0)

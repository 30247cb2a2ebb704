"""The verdict's words, and simulated studies: how often it is wrong, and how often it sees what is there."""

import math
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from docendo.studies import Verdict, compare, compare_all, describe, judge, summarize

Outcome = Literal["helps", "hurts", "unseen", "untested"]

STUDIES = 2000
CALLED_AT_MOST = 0.065
"""Of studies without a difference: 5% and three standard errors of 2,000 studies."""


def by_seed(values: NDArray[np.float64]) -> dict[int, float]:
    return dict(enumerate(values.tolist()))


def verdicts(
    ours: NDArray[np.float64], theirs: NDArray[np.float64], *, paired: bool = True, resolution: float = 0.0
) -> list[Verdict]:
    return [
        judge(compare(by_seed(a), by_seed(b), paired=paired, resolution=resolution))
        for a, b in zip(ours, theirs, strict=True)
    ]


def share(found: list[Verdict], *outcomes: str) -> float:
    return sum(verdict.outcome in outcomes for verdict in found) / len(found)


@pytest.mark.parametrize(("seeds", "paired"), [(3, True), (5, True), (10, True), (5, False)])
def test_identical_methods_are_rarely_called_different(seeds: int, paired: bool) -> None:
    draw = np.random.default_rng(seeds)
    ours, theirs = draw.normal(70.0, 0.3, size=(2, STUDIES, seeds))
    found = verdicts(ours, theirs, paired=paired)
    called = share(found, "helps", "hurts")
    assert 0.035 < called <= CALLED_AT_MOST
    assert called + share(found, "unseen") == 1


@pytest.mark.parametrize(("seeds", "spread"), [(2, 0.1), (3, 0.7), (10, 0.7), (10, 2.0)])
def test_identical_methods_counted_in_images(seeds: int, spread: float) -> None:
    """The mean lies between two numbers of images, where rounding does the most harm."""
    draw = np.random.default_rng(seeds)
    ours, theirs = draw.normal(340.5, spread, size=(2, STUDIES, seeds)).round() * 100 / 360
    assert share(verdicts(ours, theirs, resolution=100 / 360), "helps", "hurts") <= CALLED_AT_MOST


def test_several_identical_methods_share_the_error() -> None:
    draw = np.random.default_rng(0)
    wrong = 0
    for *methods, baseline in draw.normal(70.0, 0.3, size=(1000, 4, 3)):
        named = {str(i): by_seed(method) for i, method in enumerate(methods)}
        found = compare_all(named, by_seed(baseline)).values()
        wrong += any(judge(comparison).outcome in ("helps", "hurts") for comparison in found)
    assert 0.01 < wrong / 1000 <= CALLED_AT_MOST


@pytest.mark.parametrize("paired", [True, False])
def test_a_gain_of_one_point_is_seen(paired: bool) -> None:
    """The spread of 0.3 is that of each method over seeds that share nothing: the harder reading of "spread".

    Paired differences then spread by 0.42.
    """
    draw = np.random.default_rng(1)
    ours, theirs = draw.normal([[[71.0]], [[70.0]]], 0.3, size=(2, STUDIES, 5))
    assert share(verdicts(ours, theirs, paired=paired), "helps") >= 0.9
    assert share(verdicts(theirs[:500], ours[:500], paired=paired), "hurts") >= 0.9


def test_a_gain_of_one_point_is_seen_where_differences_spread() -> None:
    """The other reading: seeds share much, and the spread of 0.3 is that of the paired differences."""
    draw = np.random.default_rng(1)
    theirs = draw.normal(70.0, 5.0, size=(STUDIES, 5))
    assert share(verdicts(theirs + draw.normal(1.0, 0.3, size=theirs.shape), theirs), "helps") >= 0.98


def test_what_is_promised_of_numbers() -> None:
    """Effect sizes are right on average; a difference that is not seen needs more seeds than there were."""
    draw = np.random.default_rng(2)
    effects = []
    for differences in draw.normal(0.5, 0.5, size=(STUDIES, 5)):
        comparison = compare(by_seed(differences), by_seed(np.zeros(5)))
        assert comparison.effect is not None
        effects.append(comparison.effect)
        if judge(comparison).outcome == "unseen":
            assert comparison.seeds_needed is None or comparison.seeds_needed > 5
    assert np.mean(effects) == pytest.approx(1.0, abs=4 * np.std(effects) / math.sqrt(STUDIES))


BASELINE = {0: 70.2, 1: 70.3, 2: 70.7}
OURS = {0: 71.0, 1: 71.4, 2: 71.5}


@pytest.mark.parametrize(
    ("ours", "outcome", "text"),
    [
        (OURS, "helps", "helps by 0.9 ± 0.4 points (95%), 3 seeds"),
        ({0: 69.4, 1: 69.2, 2: 69.9}, "hurts", "hurts by 0.9 ± 0.4 points (95%), 3 seeds"),
        ({**OURS, 7: 1.0}, "helps", "helps by 0.9 ± 0.4 points (95%), 3 seeds (1 left out, which only one side has)"),
        (
            {0: 70.4, 1: 70.3, 2: 71.4},
            "unseen",
            "no difference can be seen with 3 seeds (needs about 38 for the 0.3 points seen)",
        ),
        (
            {0: 70.3, 1: 70.2, 2: 70.701},
            "unseen",
            "no difference can be seen with 3 seeds (needs more than 100 for the 0.0003 points seen)",
        ),
        ({0: 70.3, 1: 70.2, 2: 70.7}, "unseen", "no difference can be seen with 3 seeds"),
        (
            {0: 70.6, 1: 70.4},
            "unseen",
            "no difference can be seen with 2 seeds (1 left out, which only one side has)",
        ),
        (BASELINE, "unseen", "no difference can be seen with 3 seeds (all equal)"),
    ],
)
def test_words_of_paired_studies(ours: dict[int, float], outcome: Outcome, text: str) -> None:
    assert judge(compare(ours, BASELINE)) == Verdict(outcome, text)


def test_words_of_unpaired_studies() -> None:
    assert (
        judge(compare(OURS, BASELINE, paired=False)).text == "helps by 0.9 ± 0.6 points (95%), 3 and 3 seeds, unpaired"
    )
    assert judge(compare(OURS, {5: 70.8, 6: 71.4})).text == "no difference can be seen with 3 and 2 seeds, unpaired"


@pytest.mark.parametrize(
    ("ours", "text"),
    [
        ({0: 71.0}, "0.8 points better, but one seed cannot tell how sure that is"),
        ({0: 70.1}, "0.10 points worse, but one seed cannot tell how sure that is"),
        ({0: 70.2}, "equal, but one seed cannot tell how sure that is"),
    ],
)
def test_words_of_one_seed(ours: dict[int, float], text: str) -> None:
    assert judge(compare(ours, {0: 70.2})) == Verdict("untested", text)


def test_words_of_differences_without_spread() -> None:
    ours, theirs = {0: 72.0, 1: 72.5, 2: 71.5}, {0: 71.0, 1: 71.5, 2: 70.5}
    none = "1.0 points better with 3 seeds, but without any spread no test can tell how sure that is"
    assert judge(compare(ours, theirs)) == Verdict("untested", none)
    step = "(hardly any spread, so one step of the measure stands in for it)"
    assert judge(compare(ours, theirs, resolution=0.2)).text == f"helps by 1.0 ± 0.5 points (95%), 3 seeds {step}"
    unseen = judge(compare(ours, theirs, resolution=1.0)).text
    assert unseen.startswith(
        "no difference can be seen with 3 seeds (needs about 27 for the 1.0 points seen; hardly any"
    )


def test_words_of_other_measures() -> None:
    loss = compare({0: 0.412, 1: 0.405, 2: 0.401}, {0: 0.462, 1: 0.449, 2: 0.461}, level=0.9)
    assert judge(loss, unit="nats", larger_is_better=False) == Verdict(
        "helps", "helps by 0.051 ± 0.014 nats (90%), 3 seeds"
    )
    assert judge(loss, unit="nats").outcome == "hurts"


def test_words_of_corrected_studies() -> None:
    one = {0: 70.5, 1: 70.8, 2: 71.2}
    assert judge(compare(one, BASELINE)).outcome == "helps"
    corrected = compare_all({str(i): one for i in range(6)}, BASELINE)["3"]
    why = "(alone it would be seen, but not among 6 comparisons; needs about 7 for the 0.4 points seen)"
    assert judge(corrected) == Verdict("unseen", f"no difference can be seen with 3 seeds {why}")


def test_a_seen_difference_never_looks_like_none() -> None:
    """Rounded to one digit this is 0.3 ± 0.3."""
    assert (
        judge(compare({0: 0.2, 1: 0.3, 2: 0.42}, {0: 0.0, 1: 0.0, 2: 0.0})).text
        == "helps by 0.31 ± 0.27 points (95%), 3 seeds"
    )


def test_words_of_a_summary() -> None:
    assert describe(summarize({0: 70.0, 1: 70.3, 2: 70.1})) == "70.1 ± 0.4 points (95%), 3 seeds"
    assert describe(summarize({0: 0.4123}), unit="nats") == "0.4123 nats, one seed: its spread is not known"
    assert describe(summarize({0: 70.25, 1: 70.25})) == "70.25 points in each of 2 seeds"
    assert describe(summarize({0: 0.0, 1: 0.0}, resolution=0.01)) == "0.00 ± 0.09 points (95%), 2 seeds"

"""What a comparison means, in words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from docendo.studies.comparison import Comparison
from docendo.studies.power import MOST_SEEDS
from docendo.studies.summary import Summary


@dataclass(frozen=True)
class Verdict:
    """Whether a method is better than its baseline.

    Attributes:
        outcome: "helps" or "hurts"; "unseen", where a test was made and saw no difference; "untested", where there is
            nothing to test by.
        text: the same in words, with how much and by how many seeds, on one line.
    """

    outcome: Literal["helps", "hurts", "unseen", "untested"]
    text: str


def judge(comparison: Comparison, *, unit: str = "points", larger_is_better: bool = True) -> Verdict:
    """Say whether a method helps, by how much, and how sure that is.

    A difference is seen where the corrected p value is below 1 - level. "Points" are percentage points.

    Args:
        comparison: of `compare` or `compare_all`.
        unit: of its values, for the text.
        larger_is_better: whether a positive difference is a gain.

    >>> from docendo.studies import compare
    >>> judge(compare({0: 71.0, 1: 71.4, 2: 71.5}, {0: 70.2, 1: 70.3, 2: 70.7})).text
    'helps by 0.9 ± 0.4 points (95%), 3 seeds'
    >>> judge(compare({0: 71.0, 1: 71.4, 2: 71.5}, {0: 70.9, 1: 70.9, 2: 71.5})).text
    'no difference can be seen with 3 seeds (needs about 46 for the 0.20 points seen)'
    >>> judge(compare({0: 71.0}, {0: 70.2})).text
    '0.8 points better, but one seed cannot tell how sure that is'
    """
    c = comparison
    gain = (c.difference > 0) == larger_is_better
    seeds, notes = _seeds(c), _notes(c)
    if c.p_adjusted is None:
        return Verdict("untested", _untested(c, "better" if gain else "worse", unit) + _brackets(notes))
    if c.margin is None or c.p_adjusted >= 1 - c.level:
        why = _brackets(_why_unseen(c, unit) + notes)
        return Verdict("unseen", f"no difference can be seen with {seeds}{why}")
    amount = f"{_plus_minus(abs(c.difference), c.margin)} {unit} ({100 * c.level:g}%), {seeds}{_brackets(notes)}"
    return Verdict("helps", f"helps by {amount}") if gain else Verdict("hurts", f"hurts by {amount}")


def describe(summary: Summary, *, unit: str = "points") -> str:
    """Write a summary in words.

    Args:
        summary: of `summarize`.
        unit: of its values.

    >>> from docendo.studies import summarize
    >>> describe(summarize({0: 70.0, 1: 71.0, 2: 72.0}))
    '71.0 ± 2.5 points (95%), 3 seeds'
    >>> describe(summarize({0: 70.25})), describe(summarize({0: 70.25, 1: 70.25}))
    ('70.25 points, one seed: its spread is not known', '70.25 points in each of 2 seeds')
    """
    s = summary
    if s.margin is not None:
        return f"{_plus_minus(s.mean, s.margin)} {unit} ({100 * s.level:g}%), {s.seeds} seeds"
    mean = f"{s.mean:.{_places(s.mean / 1000)}f} {unit}"
    return f"{mean}, one seed: its spread is not known" if s.seeds == 1 else f"{mean} in each of {s.seeds} seeds"


def _untested(c: Comparison, direction: str, unit: str) -> str:
    much = f"{_number(c.difference)} {unit} {direction}" if c.difference else "equal"
    if c.spread is None:
        return f"{much}, but one seed cannot tell how sure that is"
    return f"{much} with {_seeds(c)}, but without any spread no test can tell how sure that is"


def _why_unseen(c: Comparison, unit: str) -> list[str]:
    if c.std == 0 and c.difference == 0:
        return ["all equal"]
    reasons = []
    if c.p_value is not None and c.p_value < 1 - c.level:
        reasons.append(f"alone it would be seen, but not among {c.comparisons} comparisons")
    if c.effect:
        number = f"more than {MOST_SEEDS}" if c.seeds_needed is None else f"about {c.seeds_needed}"
        each = "" if c.paired else " each"
        reasons.append(f"needs {number}{each} for the {_number(c.difference)} {unit} seen")
    return reasons


def _notes(c: Comparison) -> list[str]:
    notes = []
    if c.std is not None and c.spread is not None and c.std < c.spread and c.difference:
        notes.append("hardly any spread, so one step of the measure stands in for it")
    if c.left_out:
        notes.append(f"{c.left_out} left out, which only one side has")
    return notes


def _brackets(notes: list[str]) -> str:
    return f" ({'; '.join(notes)})" if notes else ""


def _seeds(c: Comparison) -> str:
    return f"{c.seeds} seeds" if c.paired else f"{c.seeds} and {c.baseline_seeds} seeds, unpaired"


def _plus_minus(mean: float, margin: float) -> str:
    """Round to one digit of the margin, or two if the first is 1 or 2; to more where both would look equal."""
    places = _places(margin)
    while abs(mean) > margin and f"{abs(mean):.{places}f}" == f"{margin:.{places}f}" and places < 15:
        places += 1
    return f"{mean:.{places}f} ± {margin:.{places}f}"


def _number(value: float) -> str:
    return f"{abs(value):.{_places(value)}f}"


def _places(value: float) -> int:
    """Give the decimal places at which a number is three units of the last or more; 0.29999999 counts as 0.3."""
    return max(0, math.ceil(math.log10(3 / abs(value)) - 1e-6)) if value else 0

"""What came out, in words: the first lines of a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from docendo.reports.architecture import architecture_of
from docendo.reports.record import Group, Record
from docendo.reports.standing import Standing, places


def headline(record: Record, group: Group, standing: Sequence[Standing]) -> str:
    """Say in a sentence what came out.

    Args:
        record: where teachers may be.
        group: what was compared.
        standing: of `standings`.
    """
    if group.baseline is None or len(standing) == 1:
        return _alone(record, group, standing)
    baseline = group.baseline.label
    judged = [(one, one.comparison, one.verdict) for one in standing if one.comparison and one.verdict]
    tested = [each for each in judged if each[2].outcome != "untested"]
    helping = [each for each in tested if each[2].outcome == "helps"]
    if helping:
        best, _, verdict = max(helping, key=lambda each: each[1].difference)
        return f"{best.cell.label} beats {baseline} by {verdict.text.removeprefix('helps by ')}."
    if len(judged) == 1:
        only, _, verdict = judged[0]
        return f"{only.cell.label} beside {baseline}: {verdict.text}."
    if not tested:
        return f"With one seed each, nothing can be said of how the methods compare with {baseline}."
    if all(verdict.outcome == "hurts" for _, _, verdict in tested):
        return f"All methods that can be judged do worse than {baseline}."
    return f"No method can be seen to help over {baseline}."


def second_line(group: Group, standing: Sequence[Standing]) -> str:
    """Count what became of the methods; of a method alone, say what it takes to judge it. May be nothing."""
    if len(standing) == 1:
        one = standing[0].cell
        if one is group.baseline:
            return ""
        return f"Nothing here tells whether {one.label} helps: compare it with plain training over several seeds."
    outcomes: Counter[str] = Counter(one.verdict.outcome for one in standing if one.verdict)
    return counted(outcomes) if outcomes.total() > 1 else ""


def counted(outcomes: Mapping[str, int]) -> str:
    """Write how many methods had which outcome.

    >>> counted({"unseen": 5})
    'All 5 methods show no difference.'
    >>> counted({"helps": 1, "unseen": 2, "untested": 1})
    'Of 4 methods 1 helps, 2 show no difference, and 1 has too few seeds to tell.'
    """
    words = (
        ("helps", "helps", "help"),
        ("hurts", "hurts", "hurt"),
        ("unseen", "shows no difference", "show no difference"),
        ("untested", "has too few seeds to tell", "have too few seeds to tell"),
    )
    parts = [f"{n} {one if n == 1 else more}" for key, one, more in words if (n := outcomes.get(key, 0))]
    if len(parts) == 1:
        return f"All {parts[0].replace(' ', ' methods ', 1)}."
    comma = "," if len(parts) > 2 else ""
    return f"Of {sum(outcomes.values())} methods {', '.join(parts[:-1])}{comma} and {parts[-1]}."


def _alone(record: Record, group: Group, standing: Sequence[Standing]) -> str:
    best = standing[0]
    digits = places(group)
    right = f"{best.top1.mean:.{digits}f}% of {group.tested():,} test images right"
    if len(standing) > 1:
        return f"Of {len(standing)} methods, {best.cell.label} has most test images right: {right}."
    run = best.cell.first
    seeds = f", in the mean of {best.top1.seeds} seeds" if best.top1.seeds > 1 else ""
    teacher = ""
    if "teacher" in run.results["networks"] and run.deployed != "teacher" and best.top1.seeds == 1:
        top1 = 100 * float(run.network("teacher")["test_top1"])
        teacher = f"; its teacher, {architecture_of(run, 'teacher', record.teachers)}, {top1:.{digits}f}%"
    return f"{group.network}, trained by {best.cell.label}, has {right}{seeds}{teacher}."

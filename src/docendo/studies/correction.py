"""Several methods against one baseline: the more are tried, the sooner one of them differs by chance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from docendo.studies.comparison import Comparison, compare
from docendo.studies.power import seeds_needed
from docendo.studies.summary import refuse_bad_values


def compare_all(
    methods: Mapping[str, Mapping[int, float]],
    baseline: Mapping[int, float],
    *,
    paired: bool = True,
    resolution: float = 0.0,
    level: float = 0.95,
) -> dict[str, Comparison]:
    """Compare several methods with one baseline, corrected for their number by Holm's method.

    If all methods equal the baseline, any is called different in at most 1 - level of such studies. The intervals
    stay those of each comparison alone. The seeds needed are those for Holm's first and strictest step, at level
    1 - (1 - level) / comparisons. What no test can tell is not counted among the comparisons.

    Args:
        methods: by name, one value a seed, by seed.
        baseline: one value a seed, by seed.
        paired: as for `compare`.
        resolution: as for `compare`.
        level: as for `compare`.

    Returns:
        A comparison for each method, in the given order.

    Raises:
        DocendoError: as for `compare`.

    >>> values = {"a": {0: 1.1, 1: 1.2, 2: 1.4}, "b": {0: 1.0, 1: 1.3, 2: 1.1}}
    >>> {name: round(c.p_adjusted, 3) for name, c in compare_all(values, {0: 1.0, 1: 1.1, 2: 1.2}).items()}
    {'a': 0.114, 'b': 0.742}
    """
    for name, values in methods.items():
        refuse_bad_values(f'method "{name}"', values)
    alone = {
        name: compare(values, baseline, paired=paired, resolution=resolution, level=level)
        for name, values in methods.items()
    }
    adjusted = holm({name: c.p_value for name, c in alone.items() if c.p_value is not None})
    count = max(1, len(adjusted))
    strictest = 1 - (1 - level) / count
    return {
        name: replace(
            c,
            p_adjusted=adjusted.get(name),
            comparisons=count,
            seeds_needed=None if c.effect is None else seeds_needed(c.effect, paired=c.paired, level=strictest),
        )
        for name, c in alone.items()
    }


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Adjust p values for their number m, whatever their dependence.

    The k-th smallest becomes the largest of (m - j + 1) * p_j over j = 1 ... k, and at most 1.

    Args:
        p_values: by name, in [0, 1].

    Returns:
        The adjusted ones, in the given order.

    References:
        Holm: A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6, 1979.

    >>> holm({"a": 0.5, "b": 0.01, "c": 0.03})
    {'a': 0.5, 'b': 0.03, 'c': 0.06}
    """
    adjusted: dict[str, float] = {}
    largest = 0.0
    for before, name in enumerate(sorted(p_values, key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - before) * p_values[name]))
        adjusted[name] = largest
    return {name: adjusted[name] for name in p_values}

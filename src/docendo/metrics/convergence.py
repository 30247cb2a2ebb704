"""How fast a network learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from docendo.errors import DocendoError, nearest


def first_epoch(rows: Sequence[Mapping[str, Any]], column: str, accuracy: float) -> int | None:
    """Give the epoch, counted from 1, after which an accuracy was reached for the first time.

    Epochs are counted over the rows given, one each, also those without a value: with all rows of a run, epochs spent
    on an earlier phase count too; give those of one phase to leave them out.

    Args:
        rows: of `metrics.jsonl`, or of `metrics.csv` as text, in order.
        column: the accuracy to look at, such as "val_top1/student".
        accuracy: to be reached, a fraction in [0, 1].

    Returns:
        The epoch, or None where it was never reached.

    Raises:
        DocendoError: if no row has that column.

    >>> rows = [{"epoch": 1, "val_top1/student": 0.2}, {"epoch": 2, "val_top1/student": 0.5}]
    >>> first_epoch(rows, "val_top1/student", 0.5), first_epoch(rows, "val_top1/student", 0.6)
    (2, None)
    """
    columns = dict.fromkeys(name for row in rows for name in row)
    if column not in columns:
        raise DocendoError(f'no row of metrics has a column "{column}"; {nearest(column, columns)}')
    for epoch, row in enumerate(rows, start=1):
        value = row.get(column)
        if value not in (None, "") and float(value) >= accuracy:
            return epoch
    return None

"""Numbers and tables as people read them."""

from __future__ import annotations

import inspect
import json
import os
import sys
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table


class Output(Console):
    """Standard output: text as it is, wide enough for tables where there is no terminal."""

    def __init__(self) -> None:
        wide = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 120
        super().__init__(width=wide, markup=False, emoji=False, highlight=False)

    def on_broken_pipe(self) -> None:
        """Leave it to the command line, where rich would exit at once."""
        raise BrokenPipeError


def table(*headings: str, numbers: tuple[str, ...] = ()) -> Table:
    """Make a table without vertical lines; columns of numbers are aligned to the right."""
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True, header_style="bold")
    for heading in headings:
        number = heading in numbers
        whole = number or heading in ("name", "method", "network")  # a name is there to be copied
        made.add_column(heading, justify="right" if number else "left", no_wrap=whole, overflow="fold")
    return made


def summary(thing: Any) -> str:
    """Give the first paragraph of a docstring on one line.

    >>> summary(summary)
    'Give the first paragraph of a docstring on one line.'
    """
    return " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())


def print_json(value: Any) -> None:
    """Write a value for machines."""
    print(json.dumps(value, indent=2))


def count(number: int) -> str:
    """Write a whole number.

    >>> count(272186)
    '272,186'
    """
    return f"{number:,}"


def percent(fraction: float | None) -> str:
    """Write an accuracy.

    >>> percent(0.97214), percent(None)
    ('97.21%', '-')
    """
    return "-" if fraction is None else f"{fraction:.2%}"


def duration(seconds: float) -> str:
    """Write a time.

    >>> duration(7), duration(754), duration(7384)
    ('0:07', '12:34', '2:03:04')
    """
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"

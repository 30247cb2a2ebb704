"""Numbers as people read them."""

from __future__ import annotations

MINUS = "\u2212"
"""As wide as a plus."""


def amount(number: float) -> str:
    """Write a large number to three digits.

    >>> amount(763520), amount(40_800_000), amount(1_820_000_000)
    ('0.76 M', '40.8 M', '1.82 G')
    """
    value, unit = (number / 1e9, "G") if number >= 999_500_000 else (number / 1e6, "M")
    return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f} {unit}"


def duration(seconds: float) -> str:
    """Write a time.

    >>> duration(7.4), duration(754), duration(7384)
    ('7.4 s', '12 min 34 s', '2 h 3 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def spread(mean: float, std: float | None, places: int = 2) -> str:
    """Write a mean with the standard deviation, where there is one.

    >>> spread(71.2345, 0.5), spread(71.2345, None)
    ('71.23 ± 0.50', '71.23')
    """
    return f"{mean:.{places}f}" + (f" ± {std:.{places}f}" if std is not None else "")


def difference(value: float, margin: float | None, places: int = 2) -> str:
    """Write a difference with half its interval, where there is one.

    >>> difference(1.234, 0.5), difference(-1.234, None)
    ('+1.23 ± 0.50', '-1.23')
    """
    return f"{value:+.{places}f}" + (f" ± {margin:.{places}f}" if margin is not None else "")

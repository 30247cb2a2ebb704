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

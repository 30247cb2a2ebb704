"""`docendo check`."""

from __future__ import annotations

from docendo.cli.show import Output
from docendo.cli.train import Method, method_named
from docendo.errors import DocendoError


def check(method: Method = None, /) -> None:
    """Try whether a method keeps what all methods promise; METHOD may be your own, losses.py:Mine."""
    name = method_named("check", method)
    from docendo.recipes.check import check as promises_of

    shown, broken = Output(), 0
    for promise in promises_of(name):
        broken += promise.broken is not None
        shown.print(f"{'kept  ' if promise.broken is None else 'BROKEN'}  {promise.text}")
        if promise.broken is not None:
            shown.print(f"        {promise.broken}")
    if broken:
        raise DocendoError(f"{name} breaks {broken} of its promises")

"""Methods by name: the built-in ones, and a user's own by where they are written."""

from __future__ import annotations

import os
from typing import Any

from docendo.errors import DocendoError, nearest
from docendo.methods.own import OWN, read, where_written


def find(name: str) -> tuple[str, Any]:
    """Find a method.

    Args:
        name: as in `METHODS` or `ALIASES`, case and dashes aside; or where one's own is written: "losses.py:Mine", a
            file, or "package.module:Mine", a module that can be imported.

    Returns:
        Its name as it is listed, and its class.

    Raises:
        DocendoError: an unknown name, with the nearest; a file or module without such a class.
    """
    from docendo.methods import ALIASES, METHODS

    if ":" in name:
        where, _, what = name.rpartition(":")
        name = f"{os.path.normpath(where)}:{what}"  # ./losses.py is losses.py
        if name not in OWN:
            OWN[name] = read(name)
        return name, OWN[name]
    known = {**{_fold(k): k for k in METHODS}, **ALIASES}
    if _fold(name) not in known:
        raise DocendoError(f'unknown method "{name}"; {nearest(name, METHODS)}')
    return known[_fold(name)], METHODS[known[_fold(name)]]


def find_transfer(name: str, asked_by: str) -> str:
    """Find the listed name of a transfer method.

    Args:
        name: as for `find`.
        asked_by: what asks for it, for messages: "kd: add".

    Raises:
        DocendoError: what is none, with the nearest that is.
    """
    if ":" in name and hasattr(find(name)[1], "distil"):
        return find(name)[0]
    known = {_fold(n): n for n in transfers()}
    if _fold(name) not in known:
        raise DocendoError(f'{asked_by} is "{name}", but must be a transfer method; {nearest(name, known)}')
    return known[_fold(name)]


def transfers() -> list[str]:
    """List the names of the built-in transfer methods."""
    from docendo.methods import METHODS

    return [name for name, cls in METHODS.items() if hasattr(cls, "distil")]


def name_of(method: Any) -> str:
    """Give the name of a method: the built-in one, where a user's own is written, or else its class name."""
    from docendo.methods import METHODS

    cls = type(method)
    known = next((name for name, listed in {**METHODS, **OWN}.items() if listed is cls), None)
    if known is None and (known := where_written(cls)) is not None:
        OWN[known] = cls
    return known or cls.__name__


def label_of(name: str) -> str:
    """Give what stands before the settings of an added method: its name, or the class name of a user's own.

    >>> label_of("at"), label_of("losses.py:Mine")
    ('at', 'Mine')
    """
    return name.rpartition(":")[2]


def same_name(one: str, other: str) -> bool:
    """Say whether two names mean the same, case and dashes aside."""
    return _fold(one) == _fold(other)


def _fold(name: str) -> str:
    return name.lower().replace("-", "_")

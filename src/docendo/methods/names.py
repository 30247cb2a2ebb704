"""Methods by name: the built-in ones, and a user's own by where they are written."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any

from docendo.errors import DocendoError, nearest

OWN: dict[str, Any] = {}
"""The users' own methods that were asked for, by what they were asked for as."""


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
            OWN[name] = _own(name)
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
    if known is None and (known := _where_written(cls)) is not None:
        OWN[known] = cls
    return known or cls.__name__


def _where_written(cls: type) -> str | None:
    """Give the name by which others find a class; None if they cannot, as one that was typed into a session."""
    module = sys.modules.get(cls.__module__)
    file = getattr(module, "__file__", None)
    if getattr(module, cls.__qualname__, None) is not cls or file is None:
        return None
    if "." in cls.__module__:
        return f"{cls.__module__}:{cls.__name__}"
    path = Path(file).resolve()
    near = path.is_relative_to(Path.cwd())
    return f"{path.relative_to(Path.cwd()) if near else path}:{cls.__name__}"


def label_of(name: str) -> str:
    """Give what stands before the settings of an added method: its name, or the class name of a user's own.

    >>> label_of("at"), label_of("losses.py:Mine")
    ('at', 'Mine')
    """
    return name.rpartition(":")[2]


def same_name(one: str, other: str) -> bool:
    """Say whether two names mean the same, case and dashes aside."""
    return _fold(one) == _fold(other)


def _own(name: str) -> Any:
    where, _, what = name.rpartition(":")
    try:
        module = _from_file(Path(where)) if where.endswith(".py") else importlib.import_module(where)
    except Exception as error:  # a user's module may fail in any way
        raise DocendoError(f"cannot read the method {name}: {type(error).__name__}: {error}") from error
    cls = getattr(module, what, None)
    if not (isinstance(cls, type) and hasattr(cls, "run") and hasattr(cls, "roles")):
        there = [
            key
            for key, value in vars(module).items()
            if isinstance(value, type) and value.__module__ == module.__name__
        ]
        raise DocendoError(
            f"{where} has no method {what}; {nearest(what, there) if there else 'it has no class at all'}"
        )
    return cls


def _from_file(path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)  # processes that are spawned import it from there; last, so that it hides nothing
    module = importlib.import_module(path.stem)
    if Path(module.__file__ or "").resolve() != path.resolve():
        raise ImportError(f"another module is called {path.stem}: rename the file")
    return module


def _fold(name: str) -> str:
    return name.lower().replace("-", "_")

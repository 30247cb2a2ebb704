"""A user's own methods: read from where they are written, and named by it."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from docendo.errors import DocendoError, nearest

OWN: dict[str, Any] = {}
"""The users' own methods that were asked for, by what they were asked for as."""


def read(name: str) -> Any:
    """Give the class that is written somewhere: "losses.py:Mine", or "package.module:Mine".

    Raises:
        DocendoError: there is none.
    """
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


def where_written(cls: type) -> str | None:
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

"""A process for each measurement."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any


def alone(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a new process, so that what it sets stays there, and give what it returns."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()

"""Code of this package in C++, built by the machine's own compiler when it is first wanted."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import torch  # noqa: F401  # which loads the OpenMP that the code calls

HERE = Path(__file__).parent


class CannotBuild(Exception):
    """Why there is no such code here."""


@cache
def built(name: str, flags: tuple[str, ...] = ("-march=native",)) -> ctypes.CDLL:
    """Build a C++ file of this folder for this processor and load it; takes about a second.

    Args:
        name: of the file.
        flags: for the compiler, besides those that all code needs.

    Raises:
        CannotBuild: the machine has no compiler that does this, or will not load what it makes.
    """
    if sys.platform != "linux":
        raise CannotBuild("only tried on Linux")
    named = os.environ.get("CXX", "").split()
    compiler = named or [found for found in ("g++", "c++", "clang++") if shutil.which(found)][:1]
    if not compiler:
        raise CannotBuild("no C++ compiler is installed")
    who, english = compiler[0], {**os.environ, "LC_ALL": "C"}
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            compiled, library = f"{folder}/it.o", f"{folder}/it.so"
            # In two steps, as linked with -fopenmp it would bring a pool of threads of its own, which would fight with
            # PyTorch's over the processors. What it calls of OpenMP is found in the one that PyTorch has loaded for
            # everybody; without one it will not load.
            for command in (
                ["-O3", "-std=c++17", "-fPIC", "-fopenmp", *flags, "-c", str(HERE / name), "-o", compiled],
                ["-shared", compiled, "-o", library],
            ):
                subprocess.run(
                    [*compiler, *command], check=True, capture_output=True, text=True, timeout=120, env=english
                )
            return ctypes.CDLL(library)
    except subprocess.CalledProcessError as error:
        lines = error.stderr.splitlines()
        why = next((line for line in lines if "error" in line.lower()), f"it ended with {error.returncode}")
        raise CannotBuild(f"{who} cannot build {name}: {why}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotBuild(f"{who} cannot build {name}, or what it made cannot be loaded: {error}") from error

"""Code of this package in C++, built by the machine's own compiler when it is first wanted."""

from __future__ import annotations

import ctypes
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import torch  # noqa: F401  # whose OpenMP the code uses: two pools of threads would fight over the processors


class CannotBuild(Exception):
    """Why there is no such code here."""


@cache
def built(name: str, flags: tuple[str, ...] = ("-march=native",)) -> ctypes.CDLL:
    """Build a C++ file of this folder for this processor and load it; takes less than a second.

    Args:
        name: of the file.
        flags: for the compiler, besides those that all code needs.

    Raises:
        CannotBuild: the machine has no compiler that does this, or will not load what it makes.
    """
    if sys.platform != "linux":
        raise CannotBuild("only tried on Linux")
    compiler = (
        shlex.split(os.environ.get("CXX", ""))
        or [found for found in ("g++", "c++", "clang++") if shutil.which(found)][:1]
    )
    if not compiler:
        raise CannotBuild("no C++ compiler is installed")
    with tempfile.TemporaryDirectory() as folder:
        compiled, library = Path(folder) / "it.o", Path(folder) / "it.so"
        # In two steps, as linked with -fopenmp it would bring a pool of threads of its own.
        for command in (
            ["-O3", "-std=c++17", "-fPIC", "-fopenmp", *flags, "-c", str(Path(__file__).parent / name), "-o", compiled],
            ["-shared", str(compiled), "-o", str(library)],
        ):
            try:
                subprocess.run([*compiler, *command], check=True, capture_output=True, text=True, timeout=120)
            except subprocess.CalledProcessError as error:
                lines = error.stderr.splitlines()
                why = next((line for line in lines if "error" in line), f"it ended with {error.returncode}")
                raise CannotBuild(f"{compiler[0]} cannot build {name}: {why}") from error
            except (OSError, subprocess.TimeoutExpired) as error:
                raise CannotBuild(f"{compiler[0]} cannot be used: {error}") from error
        try:
            return ctypes.CDLL(str(library))
        except OSError as error:
            raise CannotBuild(f"what {compiler[0]} made of {name} cannot be loaded: {error}") from error

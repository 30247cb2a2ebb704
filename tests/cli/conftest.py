"""The command line called in this process, and one small run for all tests here."""

import contextlib
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from docendo.cli import main

os.environ.pop("COLUMNS", None)  # how wide the terminal of whoever runs the tests is does not matter


class Said(NamedTuple):
    code: int
    out: str
    err: str


def call(*words: str) -> Said:
    """Run `docendo WORDS` here, its output going to no terminal."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(words)
    return Said(code, out.getvalue(), err.getvalue())


class Trained(NamedTuple):
    folder: Path
    said: Said


SMALL: Sequence[str] = ("--epochs", "1", "--set", "data.train_images=200")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """`docendo train kd` for an epoch of 200 digits."""
    folder = tmp_path_factory.mktemp("cli") / "run"
    return Trained(folder, call("train", "kd", *SMALL, "--out", str(folder)))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty folder, so that nothing is left in that of the tests."""
    monkeypatch.chdir(tmp_path)

"""Help and version: quick, and complete."""

import re
import subprocess
import sys
from typing import get_type_hints

import pytest
from cyclopts import Parameter

import docendo
from docendo.cli.method_help import further_settings
from docendo.cli.options import RunOptions, own_options
from docendo.methods import METHODS, settings_of
from docendo.recipes.settings import KEYS, RUN_KEYS, RunSettings
from tests.cli.conftest import call


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",)])
def test_help_names_every_command(words: tuple[str, ...]) -> None:
    said = call(*words)
    assert said.code == 0
    assert said.err == ""
    for command in ("train", "explain", "evaluate", "predict", "list", "demo", "--version"):
        assert f" {command} " in said.out


def test_version() -> None:
    assert call("--version") == (0, f"docendo {docendo.__version__}\n", "")


def test_help_and_version_leave_torch_alone() -> None:
    code = (
        "import sys; from docendo.cli import main; main(['--help']); main(['--version']); exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL).returncode == 0


def test_python_m_docendo() -> None:
    done = subprocess.run([sys.executable, "-m", "docendo", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"docendo {docendo.__version__}\n", "")


@pytest.mark.parametrize("command", ["evaluate", "predict", "list", "demo"])
def test_every_command_has_help(command: str) -> None:
    said = call(command, "--help")
    assert said.code == 0
    assert said.out.startswith(f"Usage: docendo {command}")
    assert "--no-" not in said.out


@pytest.mark.parametrize("command", ["train", "explain"])
def test_help_without_a_method_lists_them(command: str) -> None:
    said = call(command, "--help")
    assert said.code == 0
    assert said.out.startswith(f"Usage: docendo {command} METHOD [OPTIONS]\n")
    for name in METHODS:
        assert f"\n  {name} " in said.out


@pytest.mark.parametrize("name", METHODS)
def test_help_of_a_method_shows_its_equation_and_every_setting(name: str) -> None:
    said = call("train", name, "--help")
    assert said.code == 0
    assert said.out.startswith(f"Usage: docendo train {name} [OPTIONS]\n")
    assert re.search(r"\n    (L|L_\w|generation 0:   L) = ", said.out)
    words = said.out.split()
    for setting in settings_of(METHODS[name]):
        row = next(line for line in said.out.splitlines() if line.startswith(f"{setting.key} "))
        assert setting.default in row
        assert all(word in words for word in setting.source.split())
        assert all(word in said.out for word in setting.range.split())
    for key in set(RUN_KEYS) - own_options():
        assert any(line.startswith(f"{key} ") for line in said.out.splitlines()), key


def test_help_of_explain_has_the_same_settings() -> None:
    assert (
        call("explain", "kd", "--help").out.partition("Settings of kd")[2]
        == (call("train", "kd", "--help").out.partition("Settings of kd")[2])
    )


def test_further_settings_know_default_and_range() -> None:
    by_key = {s.key: s for s in further_settings()}
    assert by_key["optimizer.name"].range == "sgd, nesterov or adamw"
    assert by_key["optimizer.momentum"][1:3] == ("0.9", "a number at least 0 and below 1")
    assert by_key["optimizer.clip"][1:3] == ("unset", "a number above 0")
    assert by_key["channels_last"][1:3] == ("true", "true or false")
    assert by_key["accumulate"].range == "a whole number at least 1"
    assert by_key["schedule.milestones"].default == "0.625,0.75,0.875"
    assert all(s.meaning for s in by_key.values())


def test_options_state_the_defaults_of_the_models() -> None:
    hints = get_type_hints(RunOptions, include_extras=True)
    for name in ("batch_size", "lr", "seed", "accelerator", "devices", "strategy", "precision"):
        helped = next(m.help for m in reversed(hints[name].__metadata__) if isinstance(m, Parameter) and m.help)
        assert f"({RunSettings.model_fields[name].default})" in helped
    assert {key for key in KEYS.values() if not key.startswith("networks.")} <= set(RUN_KEYS)

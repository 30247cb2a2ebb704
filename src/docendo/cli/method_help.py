"""Help of `train` and `explain`, which depends on the method."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from cyclopts import App
from rich.table import Table

from docendo.cli.options import own_options
from docendo.cli.show import Output, summary, table


class FurtherSetting(NamedTuple):
    """A setting of a run that has no option of its own.

    Attributes:
        key: how `--set` names it.
        default: its value if nobody says otherwise.
        range: allowed values in words.
        meaning: what it does.
    """

    key: str
    default: str
    range: str
    meaning: str


def show_method_help(command: str, function: Callable[..., Any], method: str | None) -> None:
    """Print the help of a command, and what a method is and can be set to."""
    from docendo.methods import METHODS, make, name_of, settings_of

    shown = Output()
    if method is None:
        shown.print(f"Usage: docendo {command} METHOD [OPTIONS]\n\n{inspect.getdoc(function)}\n")
        _options_page(function)
        shown.print(f"\nMethods, each with settings of its own: docendo {command} METHOD --help", style="bold")
        for name, cls in METHODS.items():
            shown.print(f"  {name:<{max(map(len, METHODS))}}  {summary(cls)}")
        return
    template = make(method)
    name = name_of(template)
    shown.print(f"Usage: docendo {command} {name} [OPTIONS]\n")
    for paragraph in (inspect.getdoc(type(template)) or "").split("\n\n"):
        equation = paragraph.startswith(" ")
        shown.print(paragraph if equation else " ".join(paragraph.split()), "\n", soft_wrap=equation, sep="")
    _options_page(function)
    shown.print(f"\nSettings of {name}, by --set KEY=VALUE\n", style="bold")
    own = table("key", "default", "meaning", "default from")
    for s in settings_of(type(template)):
        own.add_row(s.key, s.default, _with_range(s.meaning, s.range), s.source)
    shown.print(own)
    shown.print("\nFurther settings of a run, by --set KEY=VALUE\n", style="bold")
    shown.print(_further_table())


def further_settings() -> Iterator[FurtherSetting]:
    """List the settings of a run that have no option of their own."""
    from docendo.recipes.settings import RUN_KEYS, RunSettings

    schema = RunSettings.model_json_schema()
    for key in RUN_KEYS:
        if key in own_options():
            continue
        model: Any = RunSettings
        about: dict[str, Any] = schema
        for name in key.split("."):
            about = about["properties"][name]
            about = {**about, **schema["$defs"].get(about.get("$ref", "").rpartition("/")[2], {})}
            field = model.model_fields[name]
            model = field.annotation
        yield FurtherSetting(key, _written(field.default), range_of(about), field.description or "")


def range_of(about: dict[str, Any]) -> str:
    """Write the allowed values of one property of a JSON schema; nothing if its type is all that is known.

    >>> range_of({"type": "number", "minimum": 0, "exclusiveMaximum": 1})
    'a number at least 0 and below 1'
    >>> range_of({"enum": ["sgd", "nesterov", "adamw"], "type": "string"})
    'sgd, nesterov or adamw'
    """
    about = next((a for a in about.get("anyOf", ()) if a.get("type") != "null"), about)
    if "enum" in about:
        *others, last = about["enum"]
        return f"{', '.join(others)} or {last}"
    if about.get("type") == "boolean":
        return "true or false"
    bounds = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
    limits = " and ".join(f"{word} {about[key]:g}" for key, word in bounds.items() if key in about)
    return f"{'a whole number' if about.get('type') == 'integer' else 'a number'} {limits}" if limits else ""


def _further_table() -> Table:
    made = table("key", "default", "meaning")
    for s in further_settings():
        made.add_row(s.key, s.default, _with_range(s.meaning, s.range))
    return made


def _with_range(meaning: str, range: str) -> str:
    return f"{meaning} ({range})" if range else meaning


def _written(default: Any) -> str:
    if default is None:
        return "unset"
    if isinstance(default, bool):
        return str(default).lower()
    return ",".join(map(str, default)) if isinstance(default, tuple) else str(default)


def _options_page(function: Callable[..., Any]) -> None:
    """Print the options alone, without the page of commands that cyclopts would add."""
    page = App(usage="", help="", help_flags=(), version_flags=(), default_command=function)
    page.help_print([], console=Output())

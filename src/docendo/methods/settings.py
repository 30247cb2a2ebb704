"""From names and values that people write to method objects, and back."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, NamedTuple

from pydantic import Field, TypeAdapter, ValidationError

from docendo.core import Transfer
from docendo.errors import DocendoError, nearest
from docendo.methods.names import find, find_transfer, label_of, name_of, same_name, transfers


class Setting(NamedTuple):
    """One setting of a method, for help texts.

    Attributes:
        key: how `--set` names it; the settings of a held method stand behind a dot, "then.temperature".
        default: its value if nobody says otherwise.
        range: allowed values in words.
        meaning: what it does.
        source: where the default comes from.
    """

    key: str
    default: str
    range: str
    meaning: str
    source: str


def make(name: str, values: Mapping[str, Any] | None = None, *, held_as: str = "") -> Any:
    """Make a method from its name and settings.

    Args:
        name: as for `docendo.methods.names.find`.
        values: settings by key; `then` names a transfer method, `then.temperature` one of its settings; `add` names
            several, with commas between, `at.weight` a setting of one of them. Strings are read as the setting's type.
        held_as: what stands before its settings' keys where another method holds it: "then.".

    Raises:
        DocendoError: an unknown name or setting, with the nearest; a value out of range, with the range.

    >>> make("kd", {"temperature": "2"})
    KD(ce=0.1, add=(), temperature=2.0, kd=0.9, standardize=False)
    >>> make("sftn", {"then.kd": 1}).then.kd
    1.0
    >>> make("kd", {"add": "at", "at.weight": "500"}).add[0].weight
    500.0
    """
    name, cls = find(name)
    fields = {f.name: f for f in dataclasses.fields(cls)}
    hints = typing.get_type_hints(cls)
    chosen: dict[str, Any] = {}
    inner: dict[str, dict[str, Any]] = {}
    added = _added(name, (values or {}).get("add", ())) if "add" in fields else {}
    for key, value in (values or {}).items():
        first, _, rest = key.partition(".")
        of_added = next((settings for one, settings in added.items() if same_name(label_of(one), first)), None)
        if rest and of_added is not None:
            of_added[rest] = value
            continue
        if first not in fields or (rest and not _holds(hints[first])):
            near = nearest(held_as + key, [held_as + s.key for s in settings_of(cls)])
            if rest and "add" in fields and any(same_name(first, one) for one in transfers()):
                near = f"to add that loss: --add {first}, or --set {held_as}add={first}"
            raise DocendoError(f'{name} has no setting "{held_as}{key}"; {near}')
        if rest:
            inner.setdefault(first, {})[rest] = value
        elif _holds(hints[first]):
            chosen[first] = value if not isinstance(value, str) else make(find_transfer(value, f"{name}: {first}"))
        elif first != "add":
            chosen[first] = _checked(f"{name}: {key}", value, hints[first], fields[first].metadata)
    if added:
        chosen["add"] = tuple(
            make(one, settings, held_as=f"{held_as}{label_of(one)}.") for one, settings in added.items()
        )
    for first, rest_values in inner.items():
        held = chosen.get(first, fields[first].default)
        if held is None:
            raise DocendoError(
                f"{name}: {held_as}{first} holds no method, so it has no {', '.join(rest_values)}: "
                f"name one first, --set {held_as}{first}=kd"
            )
        # Where the held method is to hold another one, the settings of the one that it held go with it.
        kept = {key: value for key, value in values_of(held).items() if key.partition(".")[0] not in rest_values}
        chosen[first] = make(name_of(held), {**kept, **rest_values}, held_as=f"{held_as}{first}.")
    return cls(**chosen)


def values_of(method: Any) -> dict[str, Any]:
    """Give a method's settings as plain values that `make` takes.

    >>> values_of(make("kd"))
    {'temperature': 4.0, 'kd': 0.9, 'standardize': False, 'ce': 0.1}
    """
    values: dict[str, Any] = {}
    for f in _fields(method):
        value = getattr(method, f.name)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            values[f.name] = name_of(value)
            values.update({f"{f.name}.{k}": v for k, v in values_of(value).items()})
        elif f.name == "add":
            if value:
                values["add"] = ",".join(name_of(one) for one in value)
                values.update({f"{label_of(name_of(one))}.{k}": v for one in value for k, v in values_of(one).items()})
        else:
            values[f.name] = value
    return values


def settings_of(cls: Any) -> list[Setting]:
    """List the settings of a method class, those of a held method included."""
    return list(_settings(cls, ""))


def _settings(cls: Any, prefix: str) -> Iterator[Setting]:
    hints = typing.get_type_hints(cls)
    for f in _fields(cls):
        meaning, source = f.metadata.get("meaning", ""), f.metadata.get("source", "")
        if f.name == "add":
            yield Setting(f"{prefix}add", "none", "transfer methods", meaning, source)
        elif _holds(hints[f.name]):
            default = "none" if f.default is None else name_of(f.default)
            yield Setting(prefix + f.name, default, "a transfer method", meaning, source)
            if f.default is not None:
                yield from _settings(type(f.default), f"{prefix}{f.name}.")
        else:
            default = str(f.default).lower() if isinstance(f.default, bool) else str(f.default) or "empty"
            yield Setting(prefix + f.name, default, _range(hints[f.name], f.metadata), meaning, source)


def _fields(method: Any) -> list[dataclasses.Field[Any]]:
    """Give a method's fields, its own before those that it shares with others of its kind."""
    return sorted(dataclasses.fields(method), key=lambda field: field.kw_only is True)


def _range(hint: Any, bounds: Mapping[str, Any]) -> str:
    if typing.get_origin(hint) is typing.Literal:
        return " or ".join(typing.get_args(hint))
    if hint is bool:
        return "true or false"
    words = {"at_least": "at least {}", "above": "above {}", "at_most": "at most {}"}
    kind = {float: "a number", int: "a whole number", str: "text"}.get(hint, getattr(hint, "__name__", str(hint)))
    limits = " and ".join(text.format(bounds[k]) for k, text in words.items() if k in bounds)
    return f"{kind} {limits}".rstrip()


_LIMITS = {"at_least": "ge", "above": "gt", "at_most": "le"}


def _checked(where: str, value: Any, hint: Any, bounds: Mapping[str, Any]) -> Any:
    limits: dict[str, Any] = {_LIMITS[key]: bound for key, bound in bounds.items() if key in _LIMITS}
    if hint is float:
        limits["allow_inf_nan"] = False
    constraint = Field(**limits)
    try:
        return TypeAdapter(Annotated[hint, constraint]).validate_python(value)
    except ValidationError as error:
        raise DocendoError(f"{where} is {value!r}, but must be {_range(hint, bounds)}") from error


def _holds(hint: Any) -> bool:
    """Say whether a setting holds another method, or may hold one."""
    return hint in (Transfer, Transfer | None)


def _added(name: str, given: Any) -> dict[str, dict[str, Any]]:
    """Read which methods are added, "at,sp", each with no settings yet."""
    names = given.split(",") if isinstance(given, str) else given
    return {find_transfer(one.strip(), f"{name}: add"): {} for one in names if one.strip()}

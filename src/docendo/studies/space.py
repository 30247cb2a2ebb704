"""What a search may choose from: ranges of settings, from their own limits, from a file or from words."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from docendo.errors import DocendoError, nearest
from docendo.files import read_yaml
from docendo.methods import name_of, values_of
from docendo.methods.names import label_of
from docendo.recipes.settings import parsed

SPAN = 10.0
"""Without an upper limit a setting is looked for from its default over this to its default times this."""


class Range(BaseModel):
    """What one setting may be.

    Attributes:
        low: smallest value.
        high: largest value.
        log: whether to try as many values from 0.1 to 1 as from 1 to 10.
        choices: values instead of a range.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    low: float | None = Field(None, allow_inf_nan=False)
    high: float | None = Field(None, allow_inf_nan=False)
    log: bool = False
    choices: tuple[Any, ...] = ()

    @model_validator(mode="after")
    def _in_order(self) -> Range:
        if bool(self.choices) == (self.low is not None or self.high is not None):
            raise ValueError("low and high, or choices")
        if not self.choices:
            if self.low is None or self.high is None or not self.low < self.high:
                raise ValueError("low and high, the first of which is smaller")
            if self.log and self.low <= 0:
                raise ValueError("above 0 where log is asked for")
        return self

    @property
    def ends(self) -> tuple[Any, ...]:
        """What must be allowed: all choices, or both ends."""
        return self.choices or (self.low, self.high)


def own_space(method: Any, without: Iterable[str]) -> dict[str, Range]:
    """Give the ranges of a method's own settings that are numbers: weights, temperatures and shares.

    Where a setting is limited on both sides these are its range. Else it is searched by its logarithm from a tenth of
    its value to ten times as much, within its limit. Whole numbers and switches change what a method is, and what is 0
    is switched off: these are searched only if one says so.

    Args:
        method: the method with its settings.
        without: keys that stay as they are.

    >>> from docendo.methods import BAN, KD
    >>> {key: (r.low, r.high, r.log) for key, r in own_space(KD(), ()).items()}
    {'temperature': (0.4, 40.0, True), 'kd': (0.09, 9.0, True), 'ce': (0.01, 1.0, True)}
    >>> own_space(BAN(), ["temperature"])["lam"]
    Range(low=0.0, high=1.0, log=False, choices=())
    """
    fixed = set(without)
    return {
        key: usual_range(value, limits_of(method, key))
        for key, value in values_of(method).items()
        if isinstance(value, float) and value and key not in fixed
    }


def usual_range(value: float, limits: Mapping[str, float]) -> Range:
    """Give a range for a number, see `own_space`.

    Args:
        value: what it is now.
        limits: at_least, above and at_most, as far as there are such.
    """
    low, high = limits.get("at_least", limits.get("above")), limits.get("at_most")
    if low is not None and high is not None:
        return Range(low=low + (high - low) / 100 if "above" in limits else low, high=high)
    ends = sorted((float(f"{value / SPAN:.6g}"), float(f"{value * SPAN:.6g}")))
    return Range(low=max(ends[0], low or -math.inf), high=min(ends[1], high or math.inf), log=value > 0)


def limits_of(method: Any, key: str) -> Mapping[str, float]:
    """Give the limits of a setting, which may be one of a method that is held or added."""
    first, dot, rest = key.partition(".")
    if dot:
        added = {label_of(name_of(one)): one for one in getattr(method, "add", ())}
        return limits_of(added[first] if first in added else getattr(method, first), rest)
    return next(field.metadata for field in dataclasses.fields(method) if field.name == first)


def asked_space(words: Iterable[str]) -> dict[str, Range]:
    """Read ranges as a command line has them.

    >>> asked_space(["lr=0.01:0.2:log", "first=a,b"])["lr"]
    Range(low=0.01, high=0.2, log=True, choices=())

    Raises:
        DocendoError: what is not KEY=LOW:HIGH, KEY=LOW:HIGH:log or KEY=A,B.
    """
    found: dict[str, Range] = {}
    for word in words:
        key, equals, text = word.partition("=")
        ends = text.split(":")
        try:
            if not equals or not key or key in found:
                raise ValueError
            if "," in text:
                found[key] = Range(choices=tuple(parsed(key, one) for one in text.split(",")))
            else:
                low, high = (float(end) for end in ends[:2])
                if ends[2:] not in ([], ["log"]):
                    raise ValueError
                found[key] = Range(low=low, high=high, log=len(ends) == 3)
        except ValueError as error:
            why = f" ({_why(error)})" if isinstance(error, ValidationError) else ""
            raise DocendoError(
                f'--search is "{word}"{why}, but must be KEY=LOW:HIGH, KEY=LOW:HIGH:log or KEY=A,B, each KEY once'
            ) from error
    return found


def read_space(path: Path) -> dict[str, Range]:
    """Read ranges from a YAML file: `KEY: [a, b, c]` for choices, or `KEY: {low: 1, high: 8, log: true}`.

    Raises:
        DocendoError: a file that cannot be read, or holds something else.
    """
    wrong = "holds no ranges, such as 'temperature: {low: 1, high: 8, log: true}'"
    values = read_yaml(path, wrong=wrong)
    if not values:
        raise DocendoError(f"{path} {wrong}")
    found = {}
    for key, value in values.items():
        try:
            found[str(key)] = Range.model_validate({"choices": value} if isinstance(value, list) else value)
        except ValidationError as error:
            first = error.errors()[0]
            if first["type"] == "extra_forbidden":
                near = nearest(str(first["loc"][-1]), Range.model_fields)
                raise DocendoError(f'{path}: {key} has no "{first["loc"][-1]}"; {near}') from error
            raise DocendoError(f"{path}: {key} is {value!r}, but must have {_why(error)}") from error
    return found


def _why(error: ValidationError) -> str:
    return error.errors()[0]["msg"].removeprefix("Value error, ")

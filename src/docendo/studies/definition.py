"""What a study is made of: methods x networks x data x settings x seeds, in one checked object."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from docendo.errors import DocendoError, nearest, wanted
from docendo.files import read_yaml

Seed = Annotated[int, Field(ge=0, strict=True)]
Values = dict[str, Any]

_ELSEWHERE = {"seed": "seeds", "method": "methods", "settings": "methods", "networks": "networks"}
"""Keys of a run's configuration that have another place in a study."""


class MethodChoice(BaseModel):
    """One method, or with lists among its settings one for each combination of their values."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: str = Field(description="its name, or where your own is written")
    label: str | None = Field(None, description="what tables call it; by default its name and what differs")
    settings: Values = Field({}, description="its own settings; a list stands for its values in turn")


class StudySettings(BaseModel):
    """A whole study."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    methods: Annotated[tuple[MethodChoice, ...], Field(min_length=1)] = Field(description="what is compared")
    baseline: str | None = Field(None, description="what the others are compared with: plain, or else the first method")
    networks: Annotated[tuple[dict[str, str], ...], Field(min_length=1)] = Field(
        ({},), description="networks or weights files by role, or TEACHER:STUDENT"
    )
    data: Annotated[tuple[Values, ...], Field(min_length=1)] = Field(
        ({},), description="data sets: names, or data settings as a run's configuration has them"
    )
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = Field(
        (0, 1, 2), description="a run of each cell for each"
    )
    teacher_seed: Seed | Literal["each"] = Field(
        0, description="the seed of teachers that are trained once for all, or each: one for each seed"
    )
    vary: dict[str, Annotated[tuple[Any, ...], Field(min_length=1)]] = Field(
        {}, description="settings of a run, each with a list of the values that it takes in turn"
    )
    run: Values = Field({}, description="settings of every run, as a run's configuration has them")

    @field_validator("methods", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        return [{"method": one} if isinstance(one, str) else one for one in value] if isinstance(value, list) else value

    @field_validator("networks", mode="before")
    @classmethod
    def _paired(cls, value: Any) -> Any:
        from docendo.recipes.pairs import pair_of

        return [pair_of(one) if isinstance(one, str) else one for one in value] if isinstance(value, list) else value

    @field_validator("data", mode="before")
    @classmethod
    def _of_name(cls, value: Any) -> Any:
        return [{"name": one} if isinstance(one, str) else one for one in value] if isinstance(value, list) else value

    @field_validator("seeds")
    @classmethod
    def _different(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(value)) < len(value):
            raise ValueError("different whole numbers of at least 0, such as [0, 1, 2]")
        return value

    @field_validator("run", "vary")
    @classmethod
    def _in_place(cls, value: Values, info: ValidationInfo) -> Values:
        for key in value:
            if key in _ELSEWHERE:
                raise DocendoError(f"{info.field_name}.{key}: in a study that stands under {_ELSEWHERE[key]}")
        return value


def study_settings(values: Mapping[str, Any], where: str = "") -> StudySettings:
    """Check a definition.

    Args:
        values: as a study's file holds them.
        where: what messages begin with: the file.

    Raises:
        DocendoError: an unknown key, with the nearest; a value that cannot be.
    """
    try:
        return StudySettings.model_validate({**values})
    except ValidationError as error:
        raise _one_line(error, where) from error
    except DocendoError as error:
        raise DocendoError(f"{where}{error}") from error


def read_definition(path: Path) -> StudySettings:
    """Read a study's YAML file.

    Raises:
        DocendoError: as `study_settings`, or if it cannot be read or is no YAML.
    """
    wrong = "is no study: it must hold keys such as 'methods: [plain, kd]' and 'seeds: [0, 1]'"
    values = read_yaml(path, what="the study", wrong=wrong)
    return study_settings(values, f"{path}: ")


def _one_line(error: ValidationError, where: str) -> DocendoError:
    first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")  # a misspelt key is missing, too
    *parents, key = (str(part) for part in first["loc"] if part != "constrained-int")
    if first["type"] == "extra_forbidden":
        known: Iterable[str] = (MethodChoice if parents else StudySettings).model_fields
        inside = f" in {'.'.join(parents)}" if parents else ""
        return DocendoError(f'{where}unknown key "{key}"{inside}; {nearest(key, known)}')
    if first["type"] == "missing":
        return DocendoError(f"{where}{key} is missing: name it, such as {_SAMPLES.get(key, key)}")
    place = ".".join([*parents, key])
    return DocendoError(f"{where}{place} is {first['input']!r}, but should be {wanted(first['msg'])}")


_SAMPLES = {"methods": "methods: [plain, kd]", "method": "method: kd"}

"""Everything a run is made of, in one checked object, from flags, `--set` and configuration files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import yaml
from pydantic import BaseModel, Field, ValidationError

from docendo.core import Method
from docendo.data import DataSettings
from docendo.engine.settings import REFERENCE_BATCH, TrainSettings
from docendo.errors import DocendoError, nearest, wanted
from docendo.files import read_yaml
from docendo.methods import ALIASES, METHODS, make, name_of, settings_of, values_of
from docendo.methods.names import label_of
from docendo.methods.own import OWN
from docendo.networks.catalog import canonical
from docendo.networks.weights import read
from docendo.recipes.protocols import RECIPES, Recipe, Values, recipe_named

_SUFFIXES = {".safetensors", ".pth", ".pt", ".tar", ".bin", ".ckpt"}


_GROUPS = {
    "settings": "temperature: 4",
    "networks": "student: resnet8",
    "data": "name: digits",
    "optimizer": "name: sgd",
    "schedule": "name: cosine",
}
"""What groups of settings hold in a configuration file, by example."""


class RunSettings(TrainSettings):
    """A whole run: how to train, as `TrainSettings` say, and who trains on what."""

    method: str = Field(description="the method's name")
    recipe: str | None = Field(None, description="the published protocol that the settings started from")
    settings: Values = Field({}, description="the method's own settings")
    networks: dict[str, str] = Field({}, description="a network name or weights file for each role")
    pretrained: bool = Field(False, description="start timm and torchvision networks from their published weights")
    data: DataSettings = Field(DataSettings(), description="the images")
    seed: Annotated[int, Field(ge=0)] = Field(0, description="seed of weights, order and views")


class Request:
    """What a user asked for, before the data set is known: fills in defaults that depend on it.

    A recipe goes over the defaults, a configuration file over the recipe, flags and sets over all of them.

    Args:
        method: a method's name, or a method object of the user's own.
        flags: run settings by dotted key, as the command line's options name them; None means not given.
        sets: `--set` values by key: the method's own settings, or a run's.
        config: a YAML file with a run's settings.

    Attributes:
        method: the method with its settings.
        data: which images.
        machine: how to train and the machine's part as far as they are known, for starting processes.

    Raises:
        DocendoError: unknown keys with the nearest, values out of range, an unreadable file.
    """

    def __init__(
        self,
        method: str | Method | type[Method],
        flags: Mapping[str, Any] | None = None,
        sets: Mapping[str, Any] | None = None,
        config: str | Path | None = None,
    ) -> None:
        values, sets = _read(Path(config)) if config is not None else {}, sets or {}
        if isinstance(method, type):
            method = method()
        template = make(method) if isinstance(method, str) else method
        name = name_of(template)
        for group, example in _GROUPS.items():
            if not isinstance(values.get(group, {}), dict):
                raise DocendoError(
                    f"{config}: {group} is {values[group]!r}, but should be keys and values of its own, such as "
                    f"{example}"
                )
        own = {**values.pop("settings", {})}
        of_config = values.get("recipe")
        of_method = values.pop("method", name)
        if ALIASES.get(of_method, of_method) != name:
            raise DocendoError(f"{config} is of another method than {name}: name the same one, or another file")
        method_keys = {setting.key for setting in settings_of(type(template))}
        added = {label_of(one.strip()) for one in str(sets.get("add", "")).split(",")}
        for key, value in sets.items():
            first, dot, _ = key.partition(".")
            if first in method_keys:  # what follows the dot is a matter of the method that it holds
                own[key] = value
            elif first == "add" or (dot and first in (*METHODS, *added)):
                own[_of_what_is_added(key, name, method_keys)] = value
            elif key in RUN_KEYS:
                _put(values, key, parsed(key, value))
            elif key == "pairs":
                pairing = (m for m, cls in METHODS.items() if any(s.key == key for s in settings_of(cls)))
                raise DocendoError(
                    f"{name} pairs no stages, so --pair (the setting pairs) does not go with it; "
                    f"methods that do: {', '.join(pairing)}"
                )
            else:
                raise DocendoError(f'unknown setting "{key}" of {name}; {nearest(key, [*method_keys, *RUN_KEYS])}')
        for key, value in (flags or {}).items():
            if value is not None:
                if str(sets.get(key, value)) != str(value):
                    raise DocendoError(f"{key} is {value} and, by --set, {sets[key]}: give one of them")
                _put(values, key, value)
        recipe = _recipe_of(values, of_config, config)
        if recipe is not None:
            values = _over(values_in(recipe, values.get("networks") or {}), values)
        if isinstance(method, str):
            self.method: Any = make(name, {**(recipe.methods.get(name, {}) if recipe else {}), **own})
        elif own:
            raise DocendoError(f"{name} is an object: set its fields when you make it, not by {', '.join(own)}")
        else:
            self.method = method
        self._values = {**values, "method": name, "settings": values_of(self.method)}
        self._where = f"{config}: " if config is not None else ""
        self._check_roles(name)
        checked = self._checked({})
        self.data, self.machine = (
            checked.data,
            TrainSettings(**checked.model_dump(include=set(TrainSettings.model_fields))),
        )

    def __getstate__(self) -> Values:
        """Give what another process needs to be asked the same: the user's own methods by name, too."""
        return {**vars(self), "own": dict(OWN)}

    def __setstate__(self, state: Values) -> None:
        """Be asked in another process."""
        OWN.update(state.pop("own"))
        vars(self).update(state)

    def resolve(self, *, image_size: int, networks: Mapping[str, str]) -> RunSettings:
        """Fill in what the data set decides: the default networks, and epochs that fit.

        Args:
            image_size: side of the images in pixels.
            networks: default network of each role.
        """
        given = self._values.get("networks", {})
        epochs = 20 if self.data.name == "digits" else 240 if image_size <= 64 else 100
        return self._checked(
            {
                "epochs": self._values.get("epochs", epochs),
                "networks": {role: given.get(role, networks[role]) for role in self.method.roles},
            }
        )

    def _checked(self, more: Values) -> RunSettings:
        try:
            return RunSettings.model_validate({**self._values, **more})
        except ValidationError as error:
            raise _one_line(error, self._where) from error

    def _check_roles(self, name: str) -> None:
        for role in self._values.get("networks", {}):
            if role not in self.method.roles:
                other = (
                    f"; to train a network in the {role}'s place, add --set role={role}"
                    if hasattr(self.method, "role") and role in ("teacher", "student")
                    else ""
                )
                raise DocendoError(f"{name} has no {role}, only: {', '.join(self.method.roles)}{other}")


KEYS = {
    "teacher": "networks.teacher",
    "student": "networks.student",
    "expert": "networks.expert",
    "scratch": "networks.scratch",
    "peer": "networks.peer",
    "data": "data.name",
    "root": "data.root",
    "download": "data.download",
    "skip_corrupt": "data.skip_corrupt",
    "image_size": "data.image_size",
}
"""The dotted keys of the run's keywords and options, where they are not the keyword itself."""


def flags_of(keywords: Mapping[str, Any]) -> Values:
    """Give keywords such as `teacher=` and `epochs=` as run settings by dotted key; None and False were not given."""
    given = {
        name: str(v) if isinstance(v, Path) else v for name, v in keywords.items() if v is not None and v is not False
    }
    return {KEYS.get(name, name): value for name, value in given.items()}


def data_of(config: Path) -> DataSettings:
    """Give the data settings of a run's configuration file."""
    try:
        return RunSettings.model_validate(_read(config)).data
    except ValidationError as error:
        raise _one_line(error, f"{config}: ") from error


def _of_what_is_added(key: str, name: str, method_keys: set[str]) -> str:
    """Give the method's own key for `add`, or for a setting of what is added: a method that only holds one passes on.

    Raises:
        DocendoError: if nothing can be added to that method.
    """
    if "add" in method_keys:
        return key
    if "then.add" in method_keys:
        return f"then.{key}"
    adding = (m for m, cls in METHODS.items() if any(s.key in ("add", "then.add") for s in settings_of(cls)))
    raise DocendoError(
        f"no losses can be added to {name}, so {key} does not go with it; methods that take some: {', '.join(adding)}"
    )


def _keys(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, info in model.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from _keys(info.annotation, f"{prefix}{name}.")
        elif name not in ("method", "settings", "networks"):
            yield prefix + name, info.annotation


def _is_whole(annotation: Any) -> bool:
    """Say whether values of this type, or those that are set, are whole numbers."""
    kinds = [get_args(kind)[0] if get_origin(kind) is Annotated else kind for kind in get_args(annotation)]
    return [kind for kind in kinds or [annotation] if kind is not type(None)] == [int]


def _is_list(annotation: Any) -> bool:
    return any(get_origin(kind) is tuple for kind in (annotation, *get_args(annotation)))


RUN_KEYS = tuple(key for key, _ in _keys(RunSettings))
"""The dotted names of a run's settings, as `--set` takes them."""

WHOLE_NUMBERS = frozenset(key for key, annotation in _keys(RunSettings) if _is_whole(annotation))
"""Those among them that are whole numbers where they are set."""

LISTS = frozenset(key for key, annotation in _keys(RunSettings) if _is_list(annotation))
"""Those that are lists where they are set."""


def names_weights(network: str) -> bool:
    """Say whether what stands for a network is a weights file, and not a network's name."""
    path = Path(network)
    return path.suffix in _SUFFIXES or path.is_file()


def values_in(recipe: Recipe, networks: Mapping[str, str]) -> Values:
    """Give what a recipe sets in a run with these networks by role, as far as they are known."""
    student = networks.get("student") if recipe.student_lr else None
    if student is None:
        return recipe.values()
    return recipe.values(read(student).network.spec.architecture if names_weights(student) else canonical(student))


def _recipe_of(values: Values, of_config: Any, config: str | Path | None) -> Recipe | None:
    """Find the recipe that is asked for, and write its name as it is usual.

    Raises:
        DocendoError: an unknown one, another one than in the configuration file, or `scale_lr` on a learning rate of
            the recipe that is not for the batch size which `scale_lr` takes it to be for.
    """
    if values.get("recipe") is None:
        return None
    name = values["recipe"] = recipe_named(values["recipe"])
    if of_config is not None and recipe_named(of_config) != name:
        raise DocendoError(
            f"{config} is of the recipe {of_config}, and its settings would go over those of {name}: leave one of "
            "the two out"
        )
    recipe = RECIPES[name]
    if values.get("scale_lr") and "lr" not in values and recipe.training.batch_size != REFERENCE_BATCH:
        raise DocendoError(
            f"scale_lr takes lr to be for {REFERENCE_BATCH} images a step, but that of the recipe {name} is for "
            f"{recipe.training.batch_size}: leave scale_lr out and give --lr"
        )
    return recipe


def _over(lower: Values, upper: Values) -> Values:
    """Lay settings over others, group by group."""
    merged = {**lower, **upper}
    for key, value in lower.items():
        if isinstance(value, dict) and isinstance(upper.get(key), dict):
            merged[key] = _over(value, upper[key])
    return merged


def _read(path: Path) -> Values:
    wrong = "is not a run's configuration: it must hold keys and values such as 'epochs: 20'"
    return read_yaml(path, what="the configuration", wrong=wrong)


def _put(values: Values, key: str, value: Any) -> None:
    *path, last = key.split(".")
    for name in path:
        values[name] = {**values.get(name, {})}
        values = values[name]
    values[last] = value


def parsed(key: str, value: Any) -> Any:
    """Read what was said for a setting of the run: words with commas between them as a list, else as YAML has it.

    >>> parsed("data.mean", "0.5"), parsed("lr", "0.5"), parsed("schedule.milestones", "0.5,0.75"), parsed("lr", "{")
    ([0.5], 0.5, ['0.5', '0.75'], '{')
    """
    if not isinstance(value, str):
        return value
    if "," in value and "[" not in value:
        return [part.strip() for part in value.split(",")]
    try:
        found = yaml.safe_load(value)
    except yaml.YAMLError:
        return value  # and is refused as what it is
    return [found] if key in LISTS and isinstance(found, int | float | str) else found


def _one_line(error: ValidationError, where: str) -> DocendoError:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return DocendoError(
            f'{where}unknown setting "{key}"; {nearest(key, [*RUN_KEYS, "method", "settings", "networks"])}'
        )
    message = wanted(first["msg"])
    if message.startswith("a valid dictionary"):
        message = f"settings such as {key}.{next(k for k in RUN_KEYS if k.startswith(f'{key}.')).partition('.')[2]}"
    return DocendoError(f"{where}{key} is {first['input']!r}, but should be {message}")

"""The points of a grid: methods x networks x data x settings, each looked at once before anything is trained."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docendo.data import DataSet, DataSettings
from docendo.errors import DocendoError
from docendo.methods import SFTN, make, values_of
from docendo.methods.names import find, label_of
from docendo.networks.catalog import canonical, is_foreign
from docendo.networks.weights import read
from docendo.recipes.build import default_networks
from docendo.recipes.protocols import dotted
from docendo.recipes.settings import Request, RunSettings, names_weights
from docendo.studies.beforehand import Phases, phases_of
from docendo.studies.definition import MethodChoice, StudySettings, Values
from docendo.studies.labels import labels, network_word, word_of

Images = Callable[[DataSettings], DataSet]


@dataclass(frozen=True)
class Point:
    """One point of the grid.

    Attributes:
        choice: its method, with a label.
        method: the method's object.
        run: what it asks of a run besides, by dotted key, the data included.
        told: what could tell it from others of its method, a word for each kind.
        settings: all settings of its runs, whatever the seed.
        phases: what its runs would train.
        test_images: how many its accuracies are measured on.
        val_images: how many are there to choose by; 0 for none.
    """

    choice: MethodChoice
    method: Any
    run: Values
    told: dict[str, str]
    settings: RunSettings
    phases: Phases
    test_images: int
    val_images: int

    @property
    def key(self) -> str:
        """What is equal for points that ask for the same runs."""
        return json.dumps([self.choice.label, self.settings.networks, self.run], sort_keys=True, default=str)


def choices_of(methods: Iterable[MethodChoice]) -> tuple[MethodChoice, ...]:
    """Give a choice for each combination of listed values, each with a label of its own."""
    chosen = []
    for one in methods:
        for key, listed in one.settings.items():
            if listed == []:
                raise DocendoError(f"{one.method}: {key} is [], but must be a value, or values to compare")
        values = [value if isinstance(value, list) else [value] for value in one.settings.values()]
        for combination in itertools.product(*values):
            settings = dict(zip(one.settings, combination, strict=True))
            typed = values_of(make(one.method, settings))  # what was written as words, too
            settings = {key: typed.get(key, value) for key, value in settings.items()}
            chosen.append(MethodChoice(method=find(one.method)[0], label=one.label, settings=settings))
    for i, one in enumerate(chosen):
        if one in chosen[:i]:
            raise DocendoError(f"{one.label or one.method} is there twice with the same settings: name it once")
    bases = [one.label or label_of(one.method) for one in chosen]
    told = [{key: word_of(key, value) for key, value in one.settings.items()} for one in chosen]
    named = zip(chosen, labels(bases, told), strict=True)
    return tuple(one.model_copy(update={"label": label}) for one, label in named)


def groups_of(
    definition: StudySettings, choices: tuple[MethodChoice, ...], images_of: Images
) -> Iterator[tuple[Point, ...]]:
    """Give, for each combination of networks, data and varied settings, a point for each method.

    Raises:
        DocendoError: a network for a role that no method has; whatever does not exist or does not fit.
    """
    _check_roles(definition, choices)
    common = dict(dotted(definition.run))
    combinations = itertools.product(*definition.vary.values())
    for networks, data, values in itertools.product(definition.networks, definition.data, combinations):
        varied = dict(zip(definition.vary, values, strict=True))
        run = {**common, **{f"data.{key}": value for key, value in dotted(data)}, **varied}
        told = {f"data.{key}": word_of(key, value) for key, value in dotted(data)}
        if "name" in data:
            told["data.name"] = Path(data["name"]).name
        told |= {key: word_of(key, value) for key, value in varied.items()}
        yield tuple(_point(choice, networks, run, told, images_of) for choice in choices)


def _point(choice: MethodChoice, asked: Mapping[str, str], run: Values, told: dict[str, str], images: Images) -> Point:
    method = make(choice.method, choice.settings)
    networks = _cast(method, asked)
    request, settings, data = _resolved(choice, networks, run, images)
    if settings.pretrained and not any(has_published(network) for network in settings.networks.values()):
        run = {**run, "pretrained": False}  # for the other networks of the study, which have
        request, settings, data = _resolved(choice, networks, run, images)
    return Point(
        choice=choice,
        method=request.method,
        run={**run, "epochs": settings.epochs},
        told={**{role: network_word(network) for role, network in settings.networks.items()}, **told},
        settings=settings,
        phases=phases_of(request.method, settings, data),
        test_images=len(data.test),
        val_images=len(data.val) if data.val is not None else 0,
    )


def _resolved(
    choice: MethodChoice, networks: Mapping[str, str], run: Values, images: Images
) -> tuple[Request, RunSettings, DataSet]:
    flags = {f"networks.{role}": network for role, network in networks.items()}
    request = Request(choice.method, flags, {**choice.settings, **run})
    data = images(request.data)
    return request, request.resolve(image_size=data.image_size, networks=default_networks(data)), data


def _cast(method: Any, asked: Mapping[str, str]) -> dict[str, str]:
    """Give the networks for a method's roles, of those that are asked for: the teacher's serves for peers and others.

    Who learns starts from scratch, whatever weights are given for the teacher.
    """
    networks = {role: network for role, network in asked.items() if role in method.roles}
    if "teacher" in asked:
        for role in {"expert", "scratch", "peer"} & {*method.roles}:
            network = asked["teacher"] if role == "expert" else _architecture(asked["teacher"])
            networks.setdefault(role, network)
        if isinstance(method, SFTN) and method.start == "scratch":
            networks["teacher"] = _architecture(asked["teacher"])
    return networks


def _architecture(network: str) -> str:
    return read(Path(network)).network.spec.architecture if names_weights(network) else network


def has_published(network: str) -> bool:
    """Say whether a network is one of timm or torchvision, and named without weights of the user's own."""
    return not names_weights(network) and is_foreign(canonical(network))


def _check_roles(definition: StudySettings, choices: Iterable[MethodChoice]) -> None:
    known = {role for choice in choices for role in make(choice.method, choice.settings).roles}
    stands_for = {"teacher"} if known & {"expert", "scratch", "peer"} else set()
    for role in (role for networks in definition.networks for role in networks):
        if role not in known | stands_for:
            names = ", ".join(dict.fromkeys(choice.method for choice in choices))
            raise DocendoError(f"a network is given for a {role}, but {names} know only: {', '.join(sorted(known))}")

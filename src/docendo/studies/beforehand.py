"""What a method would train before its student: found by going through its phases without training them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import nn

from docendo.core import Phase
from docendo.data import DataSet
from docendo.methods import SFTN
from docendo.methods.plain import LabelLosses
from docendo.recipes.build import Builder, led
from docendo.recipes.settings import RunSettings
from docendo.recipes.work import seeded


class Phases(NamedTuple):
    """The phases of a run, and which of them other runs can share.

    Attributes:
        teachers: roles whose networks are trained on their labels first, if no weights are given for them.
        friendly: whether a teacher is made friendly to the student first (see `docendo.methods.SFTN`).
        of_teachers: epochs of each phase that trains one of them.
        of_friendly: epochs of the phase that makes the teacher friendly.
        of_rest: epochs of all other phases together.
        deployed: role of the network to deploy.
    """

    teachers: tuple[str, ...]
    friendly: bool
    of_teachers: int
    of_friendly: int
    of_rest: int
    deployed: str


def phases_of(method: Any, settings: RunSettings, images: DataSet) -> Phases:
    """Go through a method's phases.

    Args:
        method: the method.
        settings: the run's.
        images: the run's.

    Raises:
        DocendoError: settings, networks or weights that do not fit.
    """
    builder = _Asked(Builder(settings, images))
    phases: list[Phase] = []

    def note(phase: Phase) -> Mapping[str, nn.Module]:
        phases.append(phase)
        return phase.learners

    with seeded(settings):
        deployed = next(iter(led(method, note, builder)))
    ordinary = [p for p in phases if isinstance(p.losses, LabelLosses) and p.losses.role in builder.asked]
    friendly = [p for p in phases if isinstance(method, SFTN) and getattr(p.losses, "__self__", None) == method]
    epochs = {id(p): settings.epochs_of(p.fraction) for p in phases}
    of_teachers, of_friendly = (sum(epochs[id(p)] for p in some) for some in (ordinary, friendly))
    return Phases(
        teachers=tuple(p.losses.role for p in ordinary if isinstance(p.losses, LabelLosses)),
        friendly=bool(friendly),
        of_teachers=of_teachers,
        of_friendly=of_friendly,
        of_rest=sum(epochs.values()) - of_teachers - of_friendly,
        deployed=deployed,
    )


class _Asked:
    """Builds, and notes of which roles a method asks whether they are trained already."""

    def __init__(self, builder: Builder) -> None:
        self.builder, self.asked = builder, set[str]()

    def __call__(self, role: str, *, frozen: bool = False, number: int = 0) -> Any:
        return self.builder(role, frozen=frozen, number=number)

    def is_trained(self, role: str) -> bool:
        self.asked.add(role)
        return self.builder.is_trained(role)

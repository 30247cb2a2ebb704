"""What a run would do: phases, loss terms, who learns from whom, sizes. Trains nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

import docendo.data
from docendo.core import Method, Phase
from docendo.data import DataSet
from docendo.engine.rehearse import PhasePlan, rehearsal
from docendo.engine.teacher_memory import expected, why_not
from docendo.networks import StagedNetwork, macs, parameters
from docendo.recipes.build import Builder, default_networks, led
from docendo.recipes.following import recipe_notes
from docendo.recipes.settings import Request, RunSettings, flags_of
from docendo.recipes.work import seeded


@dataclass(frozen=True)
class NetworkFacts:
    """Size of one network.

    Attributes:
        role: what it is used as.
        architecture: its name.
        parameters: how many.
        macs: multiply-accumulates for one image.
        stages: (C, H, W) of each stage's output.
    """

    role: str
    architecture: str
    parameters: int
    macs: int
    stages: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class Explanation:
    """What a run would do.

    Attributes:
        settings: the resolved settings.
        networks: the networks that a user can name, by role.
        phases: what the rehearsal saw of each phase, in order.
        epochs: epochs of each phase.
        deployed: role of the network to deploy.
        kept: roles of all networks that are written to files.
        notes: what the user should read about the method's settings and what it hangs on networks, a line each.
        memory: what the teacher memory can do for each frozen network of each phase, a line each.
    """

    settings: RunSettings
    networks: tuple[NetworkFacts, ...]
    phases: tuple[PhasePlan, ...]
    epochs: tuple[int, ...]
    deployed: str
    kept: tuple[str, ...]
    notes: tuple[str, ...] = ()
    memory: tuple[str, ...] = ()


def explain(
    method: str | Method,
    *,
    set: Mapping[str, Any] | None = None,
    config: str | Path | None = None,
    **named: Any,
) -> Explanation:
    """Rehearse every phase of a run on one small batch.

    Args:
        method: a method's name or object.
        set: further settings by dotted key, as `docendo.train` takes them.
        config: a YAML file with settings.
        named: teacher, student, recipe, data, epochs and so on, as `docendo.train` takes them.

    Raises:
        DocendoError: as `train` does, and if a method's losses do not do what they say.
    """
    request = Request(method, flags_of(named), set, config)
    images = docendo.data.load(request.data)
    settings = request.resolve(image_size=images.image_size, networks=default_networks(images))
    plan = rehearsal(images.train)
    plans: list[PhasePlan] = []
    epochs: list[int] = []
    memory: list[str] = []

    def rehearsing(phase: Phase) -> Mapping[str, nn.Module]:
        plans.append(plan(phase))
        epochs.append(settings.epochs_of(phase.fraction))
        if settings.teacher_memory != "off":
            memory.extend(_memory(phase, plans[-1], epochs[-1], images))
        return phase.learners

    builder = Builder(settings, images)
    with seeded(settings):
        deployable = led(request.method, rehearsing, builder)
        facts = tuple(_facts(role, builder(role)) for role in settings.networks)
    return Explanation(
        settings,
        facts,
        tuple(plans),
        tuple(epochs),
        next(iter(deployable)),
        tuple(deployable),
        (
            *recipe_notes(settings),
            *getattr(request.method, "notes", ()),
            *(note for plan in plans for note in plan.notes),
        ),
        tuple(memory),
    )


def _memory(phase: Phase, plan: PhasePlan, epochs: int, images: DataSet) -> Iterator[str]:
    """Say of each frozen network of a phase what its memory will save, or why it has none."""
    for role in phase.frozen:
        reason = why_not(phase, plan.reads[role], images)
        if reason or images.augmentation.count is None:
            yield f"{role} in {phase.name}: answers anew at every step: {reason}"
            continue
        will = expected(epochs, images.augmentation.count)
        pays = "pays" if will.seeds == 1 else f"pays from about {will.seeds} seeds on"
        yield (
            f"{role} in {phase.name}: each image has {will.views} views, and {epochs} epochs meet {will.new:.3g} of "
            f"them; so the first run computes {will.new / will.asked:.0%} of its answers, and others with the same "
            f"seed none. A prefill of all views takes {will.views / will.new:.2g} times what the first run computes, "
            f"and {pays}"
        )


def _facts(role: str, network: StagedNetwork) -> NetworkFacts:
    return NetworkFacts(role, network.spec.architecture, parameters(network), macs(network), network.shapes)

"""Training in generations: networks of one architecture, each taught by the one before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from docendo.core import Build, Losses, Phase, Train, Transfer


def in_generations(train: Train, build: Build, first: Losses, generations: int, heir: Transfer) -> dict[str, Any]:
    """Train a first network, then generation after generation, each from fresh weights and taught by the one before.

    Every generation is a full phase with its own weights, order and views.

    Args:
        train: trains.
        build: makes the networks, all in the role "student".
        first: the losses of generation 0.
        generations: how many follow it; 0 for none.
        heir: how each learns from the one before.

    Returns:
        The last network as "student", those before it as "generation0", "generation1", ...
    """

    def generation(m: int) -> Train:
        def training(phase: Phase) -> Mapping[str, Any]:
            name = f"generation {m}" if phase.name == "student" else f"generation {m}, {phase.name}"
            stream = f"{phase.stream or 'student'} {m}" if m else None  # the first sees what plain training sees
            return train(replace(phase, name=name, stream=stream))

        return training

    last = generation(0)(Phase("student", {"student": build("student")}, first))["student"]
    earlier = []
    for m in range(1, generations + 1):
        earlier.append(last)
        last = heir.distil(generation(m), last, build("student", number=m))
    return {"student": last, **{f"generation{m}": network for m, network in enumerate(earlier)}}


def ensembles(generations: int) -> dict[str, tuple[str, ...]]:
    """Name the ensembles of the generations from 0 and from 1 on, and the roles in them.

    >>> ensembles(2)
    {'generations 0 to 2': ('generation0', 'generation1', 'student'), 'generations 1 to 2': ('generation1', 'student')}
    >>> ensembles(0)
    {}
    """
    roles = (*(f"generation{m}" for m in range(generations)), "student")
    return {f"generations {m} to {generations}": roles[m:] for m in (0, 1) if m < generations}

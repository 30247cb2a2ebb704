"""What a search found, and how to go on with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from docendo.files import write_atomically
from docendo.methods import values_of
from docendo.recipes.folder import command_of
from docendo.recipes.protocols import dotted
from docendo.recipes.settings import Request
from docendo.studies.plan import Plan
from docendo.studies.search import Search

BEST = "best.yaml"

SEEDS = 3
"""With how many other seeds the best settings are to be compared with the defaults."""


@dataclass(frozen=True)
class Tuned:
    """What a search found.

    Attributes:
        folder: its folder, with a run folder for each trial.
        best: what it chose for the best trial; empty if none was finished.
        value: the validation top-1 of that trial, in [0, 1]; None likewise.
        finished: how many trials were finished.
        given_up: how many were given up, as others were better by then.
        failed: how many failed.
        images: how many validation images they were judged by.
        command: the command line that trains with the best settings, and then looks at the test images.
        comparison: the file of a study that compares them with the defaults over other seeds; None likewise.
    """

    folder: Path
    best: Mapping[str, Any]
    value: float | None
    finished: int
    given_up: int
    failed: int
    images: int
    command: str
    comparison: Path | None


def tuned(folder: Path, plan: Plan, run: Search) -> Tuned:
    """Say what a search has found.

    Args:
        folder: the search's.
        plan: what was searched.
        run: the search.
    """
    point, best = plan.cells[0].point, run.best()
    params = dict(best.params) if best is not None else {}
    networks = {f"networks.{role}": network for role, network in point.settings.networks.items()}
    flags = {**networks, "seed": plan.definition.seeds[0]}
    request = Request(point.choice.method, flags, {**point.choice.settings, **point.run, **params})
    settings = request.resolve(image_size=0, networks=point.settings.networks)
    label = plan.cells[0].label
    counts = run.counts()
    return Tuned(
        folder=folder,
        best=params,
        value=best.value if best is not None else None,
        finished=counts.finished,
        given_up=counts.given_up,
        failed=counts.failed,
        images=point.val_images,
        command=command_of(settings, request.method, Path("runs") / f"{label}-tuned"),
        comparison=_write_comparison(folder, plan, params) if params else None,
    )


def _write_comparison(folder: Path, plan: Plan, best: Mapping[str, Any]) -> Path:
    """Write a study of the best settings beside the defaults, with seeds that the search has not seen.

    What the search chose for the run is for all of them, else it would not be the method that is compared; where it
    chose nothing else, that is compared with what was there.
    """
    definition, point = plan.definition, plan.cells[0].point
    own = {key: value for key, value in best.items() if key in values_of(point.method)}
    default = {"method": point.choice.method, "settings": dict(point.choice.settings)}
    tuned = {**default, "label": f"{plan.cells[0].label}-tuned", "settings": {**point.choice.settings, **own}}
    plain = ["plain"] if point.choice.method != "plain" else []
    first = definition.seeds[0] + 1
    of_the_run = {key: value for key, value in best.items() if key not in own}
    before = dict(dotted(point.settings.model_dump(mode="json")))
    run = dict(dotted(definition.run))
    study = {
        "methods": [*plain, default, *([tuned] if own else [])],
        "networks": [dict(one) for one in definition.networks],
        "data": [dict(one) for one in definition.data],
        "seeds": list(range(first, first + SEEDS)),
        "run": {**run, **of_the_run} if own else {key: value for key, value in run.items() if key not in of_the_run},
        **({} if own else {"vary": {key: [before.get(key), value] for key, value in of_the_run.items()}}),
    }
    path = folder / BEST
    write_atomically(path, yaml.safe_dump(study, sort_keys=False, allow_unicode=True).encode())
    return path

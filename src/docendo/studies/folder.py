"""The folder of a study: its definition, its runs, and the index from which reports are made."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from docendo.errors import DocendoError
from docendo.files import write_atomically
from docendo.methods import values_of
from docendo.recipes.folder import check_folder, locked, names_in
from docendo.studies.definition import read_definition
from docendo.studies.job import Job
from docendo.studies.plan import Cell, Plan

DEFINITION, INDEX = "study.yaml", "index.json"


def finished(folder: Path, job: Job | str) -> bool:
    """Say whether a run of the study is finished."""
    return (folder / (job if isinstance(job, str) else job.name) / "results.json").exists()


def look(folder: Path, *signs: str) -> None:
    """Make sure that a folder may be a study's; changes nothing.

    Args:
        folder: the folder.
        signs: names by which else it is known to be one.

    Raises:
        DocendoError: if it holds something else.
    """
    others = names_in(folder)
    if others and not {DEFINITION, "runs", "teachers", *signs} & others:
        raise DocendoError(f"{folder} holds files but no study: choose an empty or new folder as --out")


def prepare(folder: Path, plan: Plan) -> None:
    """Write the definition, unless the one that is there says the same, after a look at runs that were begun.

    Args:
        folder: the study's.
        plan: its runs.

    Raises:
        DocendoError: runs that were begun with other settings.
    """
    for job in plan.jobs:
        check_folder(folder / job.name, as_begun(folder, job).config, resume=True)
        if finished(folder, job):
            follow(folder, job)
    path = folder / DEFINITION
    if path.exists() and read_definition(path) in (plan.asked, plan.definition):
        return  # as the user wrote it, perhaps
    definition = plan.definition.model_dump(mode="json", exclude_defaults=True)
    for key in ("seeds", "teacher_seed"):  # what a reader looks for stands there in any case
        definition[key] = plan.definition.model_dump(mode="json")[key]
    write_atomically(path, yaml.safe_dump(definition, sort_keys=False, allow_unicode=True).encode())


def as_begun(folder: Path, job: Job) -> Job:
    """Give a run with the paths by which it read the study's own weights when it was begun; changes nothing.

    Args:
        folder: the study's, as it is reached from here, which may be called otherwise now.
        job: the run.
    """
    networks = (_config(folder, job) or {}).get("networks", {})
    moved = {}
    for role, network in job.networks.items():
        before = networks.get(role, network)
        if network.startswith(f"{folder}/") and Path(before).parts[-3:] == Path(network).parts[-3:]:
            moved[role] = before
    return replace(job, networks={**job.networks, **moved})


def follow(folder: Path, job: Job) -> Job:
    """Let a run that was begun, and that nobody is doing, find the study's own weights wherever the folder is now.

    If the paths by which they were read still lead there, they are used further. Else the folder has moved: then the
    run gets the new paths, and if it has not finished it begins anew, as its checkpoints are of the old ones.

    Args:
        folder: the study's, as it is reached from here.
        job: the run.

    Returns:
        The run with the paths to use.
    """
    begun = as_begun(folder, job)
    moved = {role: before for role, before in begun.networks.items() if before != job.networks[role]}
    if all(Path(before).exists() and Path(before).samefile(job.networks[role]) for role, before in moved.items()):
        return begun
    try:
        lock = locked(folder / job.name)
    except DocendoError:
        return job  # somebody is at work in it all the same, which whoever opens the run says
    with lock:
        if not finished(folder, job):
            shutil.rmtree(folder / job.name / "checkpoints", ignore_errors=True)
        then = _config(folder, job) or {}
        networks = {**then["networks"], **{role: job.networks[role] for role in moved}}
        text = yaml.safe_dump({**then, "networks": networks}, sort_keys=False, allow_unicode=True)
        write_atomically(folder / job.name / "config.yaml", text.encode())
    return job


def _config(folder: Path, job: Job) -> dict[str, Any] | None:
    """Give the settings that a run was begun with; None if it was not, or if they are damaged."""
    try:
        then = yaml.safe_load((folder / job.name / "config.yaml").read_text())
        dict(then["networks"])
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError):
        return None  # which whoever opens the run says
    return dict(then)


def write_index(folder: Path, plan: Plan, failed: Mapping[str, str], command: str) -> dict[str, Any]:
    """Write the index anew, from what is finished by now.

    Args:
        folder: the study's.
        plan: its runs.
        failed: why runs failed, by name.
        command: the exact command that makes this study.

    Returns:
        What was written: the baseline's label; for each cell what it is, its finished runs by seed, why others
        failed, the baseline that it is compared with and on how many test images; the shared teachers' folders.
    """
    index = {
        "baseline": plan.baseline,
        "cells": [_cell(folder, cell, failed) for cell in plan.cells],
        "command": command,
        "teachers": [job.name for job in plan.jobs if not job.compared and finished(folder, job)],
    }
    write_atomically(folder / INDEX, (json.dumps(index, indent=2, ensure_ascii=False, default=str) + "\n").encode())
    return index


def command_of(folder: Path) -> str | None:
    """Give the command that the index names, if there is one."""
    try:
        command: str = json.loads((folder / INDEX).read_text())["command"]
    except (OSError, ValueError, KeyError):
        return None
    return command


def _cell(folder: Path, cell: Cell, failed: Mapping[str, str]) -> dict[str, Any]:
    settings = cell.point.settings.model_dump(mode="json")
    runs = {str(seed): run for seed, run in cell.runs.items()}
    return {
        "label": cell.label,
        "method": cell.point.choice.method,
        "settings": values_of(cell.point.method),
        "networks": settings["networks"],
        "data": settings["data"],
        "run": {key: value for key, value in settings.items() if key not in _TOLD_ELSEWHERE},
        "baseline": cell.baseline,
        "test_images": cell.point.test_images,
        "seeds": {seed: run for seed, run in runs.items() if finished(folder, run)},
        "failed": {seed: failed[run] for seed, run in runs.items() if run in failed},
    }


_TOLD_ELSEWHERE = {"method", "settings", "networks", "data", "seed"}

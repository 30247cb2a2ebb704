"""What networks of a run are of, as far as its folder tells."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from safetensors import SafetensorError, safe_open

from docendo.reports.finished import Finished

_WEIGHTS = {".safetensors", ".pth", ".pt", ".tar", ".bin", ".ckpt"}


def is_weights(network: str) -> bool:
    """Say whether what was given for a network is a weights file, and not a network's name."""
    return Path(network).suffix in _WEIGHTS


def architecture_of(run: Finished, role: str, teachers: Iterable[Finished] = ()) -> str:
    """Name the architecture of a role's network: as it was asked for, or that of the weights file which was given.

    Args:
        run: the run.
        role: the role.
        teachers: the runs that weights may have come from.
    """
    named = run.config.get("networks", {}).get(role)
    if named is not None and not is_weights(named):
        return str(named)
    known = run.results["networks"].get(role, {}).get("weights")
    if known is not None and (found := _architecture_in(run.folder / known)) is not None:
        return found
    if named is None:
        same = _of_the_same_size(run, role)
        return role if same is None else architecture_of(run, same, teachers)
    source = Path(named)
    for teacher in teachers:
        if teacher.folder.name == source.parent.name and source.stem in teacher.results["networks"]:
            return architecture_of(teacher, source.stem)
    return source.stem


def _of_the_same_size(run: Finished, role: str) -> str | None:
    """Find a role that somebody named a network for, and that has exactly as many parameters."""
    size = run.results["networks"][role]["parameters"]
    roles = (other for other, about in run.results["networks"].items() if about["parameters"] == size)
    return next((other for other in roles if other in run.config.get("networks", {})), None)


def _architecture_in(path: Path) -> str | None:
    """Read the architecture in the heading of a weights file, without its tensors."""
    try:
        with safe_open(path, framework="np") as file:
            found = json.loads((file.metadata() or {})["docendo"])["architecture"]
    except (OSError, SafetensorError, ValueError, KeyError):
        return None
    return str(found)

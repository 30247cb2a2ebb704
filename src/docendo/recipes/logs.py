"""Losses and accuracies, epoch by epoch, for the tools that people compare runs with: by name, only when asked."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from docendo.engine.progress import Progress, Silent
from docendo.errors import DocendoError, nearest
from docendo.files import read_json
from docendo.recipes.trackers import LOGS, Values


def check_log(name: str) -> None:
    """Make sure that a tool is known and there, before anything is trained.

    Args:
        name: of a tool, which is also that of its package.

    Raises:
        DocendoError: an unknown one, with the nearest; a package that is missing, with what to install.
    """
    if name not in LOGS:
        raise DocendoError(f'log is "{name}", which is unknown; {nearest(name, LOGS)}')
    if importlib.util.find_spec(name) is None:
        raise DocendoError(f"log to {name} needs a package that is not installed: pip install 'docendo[{name}]'")


@contextlib.contextmanager
def logging_to(name: str, folder: Path, settings: Mapping[str, Any]) -> Iterator[Progress]:
    """Give what tells a tool how a run goes, and at its end the results; of a finished run, nothing is told again.

    Args:
        name: the tool.
        folder: the run folder; its name is the run's.
        settings: of the run, as plain values.
    """
    results = folder / "results.json"
    if results.is_file():
        yield Silent()
        return
    log = LOGS[name](folder, settings)
    well = False
    try:
        yield log
        log.values(_results(read_json(results)), None)
        well = True
    finally:
        log.close(well)


def _results(results: Mapping[str, Any]) -> Values:
    """Give what is measured at the end, by network."""
    measured = {role: about["test_top1"] for role, about in results["networks"].items()}
    return {f"test_top1/{role}": float(top1) for role, top1 in measured.items() if top1 is not None}

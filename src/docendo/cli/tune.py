"""`docendo tune`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from docendo.cli.compare import NOTHING_ASKED, SharedOptions, asked_for
from docendo.cli.errors import number
from docendo.cli.options import Whole
from docendo.cli.show import Output, percent
from docendo.cli.study import Storage
from docendo.cli.train import method_named
from docendo.errors import DocendoError

if TYPE_CHECKING:
    from docendo.studies.tuned import Tuned


def tune(
    method: Annotated[str | None, Parameter(name="METHOD", help="The method whose settings are searched.")] = None,
    /,
    *,
    trials: Annotated[
        int, Parameter(converter=number, help="Runs to try, those included that are given up early.")
    ] = 20,
    search: Annotated[
        tuple[str, ...],
        Parameter(
            negative=(),
            show_default=False,
            help="KEY=LOW:HIGH[:log], KEY=A,B or KEY: what to search instead of the method's own numbers; repeatable.",
        ),
    ] = (),
    space: Annotated[Path | None, Parameter(help="The same in a YAML file, KEY: {low: 1, high: 8, log: true}.")] = None,
    pruner: Annotated[
        Literal["median", "hyperband", "none"], Parameter(help="When a run is given up that others surpass.")
    ] = "median",
    seed: Annotated[Whole, Parameter(help="Seed of all runs (0).")] = None,
    storage: Storage = None,
    options: SharedOptions = NOTHING_ASKED,
) -> None:
    """Search for settings of a method by the validation images. The same command goes on with a search."""
    name = method_named("tune", method)
    keywords = asked_for(options)
    from docendo.studies.storage import need_optuna

    need_optuna("docendo tune")
    import docendo
    from docendo.cli.live import progress_on

    shown = Output()
    with progress_on(shown, short=True) as progress:
        found = docendo.tune(
            name,
            trials=trials,
            search=search,
            space=space,
            pruner=pruner,
            seed=seed or 0,
            storage=storage,
            progress=progress,
            say=progress.say,
            **keywords,
        )
    show_found(found, shown)


def show_found(found: Tuned, shown: Output) -> None:
    """Show the best settings as a command line, and how to find out whether they are really better.

    Raises:
        DocendoError: if no trial was finished.
    """
    counts = f"{found.finished} finished, {found.given_up} given up early, {found.failed} failed"
    if found.value is None or found.comparison is None:
        raise DocendoError(f"no settings were found: {counts}; look into {found.folder / 'trials'}")
    shown.print()
    shown.print(f"Trials: {counts}. Best validation top-1: {percent(found.value)} of {found.images:,} images")
    for key, value in found.best.items():
        shown.print(f"  {key} = {value:.6g}" if isinstance(value, float) else f"  {key} = {value}")
    shown.print()
    shown.print(
        "It is the best of many on the same images and one seed, which flatters it. Nobody has looked at the test "
        "images yet."
    )
    shown.print("Train with these settings:", f"  {found.command}", sep="\n", soft_wrap=True)
    study = shlex.join(["docendo", "study", str(found.comparison)])
    shown.print("Compare them with the defaults, over other seeds:", f"  {study}", sep="\n", soft_wrap=True)

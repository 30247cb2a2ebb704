"""`docendo bench`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from docendo.cli.apply import Json
from docendo.cli.errors import number
from docendo.cli.method_help import show_method_help
from docendo.cli.options import NOTHING_ASKED, RunOptions
from docendo.cli.show import Output, duration, print_json, table
from docendo.cli.train import Help, Method, method_named

if TYPE_CHECKING:
    from docendo.recipes.speed import Bench

Steps = Annotated[int, Parameter(converter=number, help="Steps a round.")]
Rounds = Annotated[int, Parameter(converter=number, help="Rounds, which take turns with the bare step.")]


def bench(
    method: Method = None,
    /,
    *,
    options: RunOptions = NOTHING_ASKED,
    steps: Steps = 30,
    rounds: Rounds = 3,
    as_json: Json = False,
    help: Help = False,
) -> None:
    """Measure how fast a run is, part by part, beside the bare step of the network that learns. Keeps nothing."""
    if help:
        show_method_help("bench", bench, method)
        return
    name = method_named("bench", method)
    import docendo

    measured = docendo.bench(name, steps=steps, rounds=rounds, **options.of_explain())
    if as_json:
        print_json(plain(measured))
    else:
        show(measured, Output())


def plain(measured: Bench) -> dict[str, Any]:
    """Give what was measured as plain values."""
    return {**asdict(measured), "settings": measured.settings.model_dump(mode="json")}


def show(measured: Bench, shown: Output) -> None:
    """Show what was measured as a table of phases."""
    phases = measured.phases
    names = [phase.name for phase in phases]
    parts = dict.fromkeys(part for phase in phases for part in phase.parts)
    rows = {
        "images/s": [f"{phase.images_per_second:,.0f}" for phase in phases],
        "ms a step": [f"{phase.milliseconds:.1f}" for phase in phases],
        **{
            f"  {part}": [f"{phase.parts[part]:.1f}" if part in phase.parts else "-" for phase in phases]
            for part in parts
        },
        "ms a bare step": ["-" if p.floor_milliseconds is None else f"{p.floor_milliseconds:.1f}" for p in phases],
        "a step by the bare step": ["-" if phase.ratio is None else f"{phase.ratio:.2f}" for phase in phases],
        "whole phase": [duration(phase.seconds) for phase in phases],
    }
    made = table("phase", *names, numbers=tuple(names))
    for column in made.columns:  # phases may take two lines, their numbers have no place to break
        column.no_wrap = column is made.columns[0]
    for what, values in rows.items():
        made.add_row(what, *values)
    shown.print(made)
    shown.print()
    held = measured.peak_memory_bytes
    threads = f", {measured.threads} threads" if measured.device == "cpu" else ""
    threads += ", 3x3 convolutions by Winograd" if measured.winograd else ""
    memory = "" if held is None else f"; at most {held / 2**30:.2f} GiB of memory"
    shown.print(
        f"All phases: about {duration(measured.seconds)} on this machine ({measured.device}{threads}), evaluation "
        f"left out, {measured.images_per_second:,.0f} images/s{memory}."
    )
    shown.print("The bare step is that of the first network that learns in the phase: labels, one batch at hand.")

"""`docendo report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from docendo.cli.show import Output

if TYPE_CHECKING:
    from docendo.reports.finished import Finished


def report(
    path: Annotated[Path, Parameter(name="RUN|STUDY", help="A finished run's folder, a study's, or one of runs.")],
    /,
    *,
    baseline: Annotated[str | None, Parameter(help="What others are compared with (the study's, or plain).")] = None,
    out: Annotated[Path | None, Parameter(help="Folder to write to; by default the same.")] = None,
    tables: Annotated[
        bool, Parameter(negative=(), show_default=False, help="Write the tables too: Markdown, LaTeX, CSV.")
    ] = False,
    figures: Annotated[Literal["png", "svg"] | None, Parameter(help="Write each figure too; needs Chromium.")] = None,
    measure: Annotated[
        bool,
        Parameter(
            name=(), negative="--no-measure", show_default=False, help="Leave out what was not measured beforehand."
        ),
    ] = True,
    robustness: Annotated[
        bool, Parameter(negative=(), show_default=False, help="Measure on spoiled images too, which takes long.")
    ] = False,
    latency: Annotated[
        bool, Parameter(negative=(), show_default=False, help="Time single images too, on this machine.")
    ] = False,
    device: Annotated[str | None, Parameter(help="Where to measure: cpu, cuda; by default a GPU if any.")] = None,
) -> None:
    """Make one HTML page of a run or a study: verdict, tables, curves and more, in a file that needs nothing else."""
    from docendo.reports import report as make
    from docendo.reports.reading import read_record

    shown = Output()
    if device is not None:
        from docendo.recipes.apply import device_of

        device_of(device)
    if measure:
        asked = {"corruption": robustness, "latency": latency}
        runs = read_record(path, baseline).runs
        todo = [run.folder for run in runs if run.has_weights() and _misses(run, [k for k, v in asked.items() if v])]
        if todo:
            _measure(todo, robustness=robustness, latency=latency, device=device)
    made = make(path, baseline=baseline, out=out, tables=tables, figures=figures)
    shown.print(f"The report: {made}", soft_wrap=True)
    for asked_for, name in ((tables, "tables"), (figures, "figures")):
        if asked_for:
            shown.print(f"The {name}: {made.parent / name}", soft_wrap=True)


def _misses(run: Finished, asked: list[str]) -> bool:
    """Say whether a run has no measures, or not all that are asked for."""
    measured = run.measured()
    return measured is None or any(key not in measured for key in asked)


def _measure(folders: list[Path], *, robustness: bool, latency: bool, device: str | None) -> None:
    """Measure runs, and say so; one that cannot be measured is left out and said why."""
    from docendo.recipes.measure import measure_all

    shown = Output()
    shown.print(f"Measuring {len(folders)} run{'s' * (len(folders) > 1)} on the test images (leave out: --no-measure)")
    for folder, error in measure_all(folders, robustness=robustness, latency=latency, device=device):
        shown.print(f"  {folder.name}" if error is None else f"  {folder.name} not measured: {error}", soft_wrap=True)

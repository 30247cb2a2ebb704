"""`docendo prefill`."""

from __future__ import annotations

from docendo.cli.method_help import show_method_help
from docendo.cli.options import NOTHING_ASKED, RunOptions
from docendo.cli.show import Output, count
from docendo.cli.train import Help, Method, method_named


def prefill(method: Method = None, /, *, options: RunOptions = NOTHING_ASKED, help: Help = False) -> None:
    """Let a frozen teacher answer all views of all images, for the teacher memory. Takes the options of train."""
    if help:
        show_method_help("prefill", prefill, method)
        return
    name = method_named("prefill", method)
    import docendo
    from docendo.cli.live import progress_here

    with progress_here() as progress:
        remembered = docendo.prefill(name, progress=progress, **options.of_explain())
    for role, answers in remembered.items():
        Output().print(f"{role}: {count(answers)} answers are remembered")

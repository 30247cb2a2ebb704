"""The commands, and the way in.

Nothing here or in the modules of the commands imports torch before a command runs, so that help comes at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cyclopts import App

from docendo import __version__
from docendo.cli.apply import evaluate, predict
from docendo.cli.bench import bench
from docendo.cli.check import check
from docendo.cli.cite import cite
from docendo.cli.compare import compare
from docendo.cli.demo import demo
from docendo.cli.errors import guarded
from docendo.cli.explain import explain
from docendo.cli.lists import show_list
from docendo.cli.prefill import prefill
from docendo.cli.report import report
from docendo.cli.show import Output
from docendo.cli.study import study
from docendo.cli.train import train
from docendo.cli.tune import tune

_ABOUT = """Train image networks that teach each other, and keep the one to deploy.

Start with "docendo demo", "docendo list methods" or "docendo train kd --help"."""


def make_app() -> App:
    """Put the commands together."""
    app = App(
        name="docendo",
        help=_ABOUT,
        help_format="plaintext",
        version=f"docendo {__version__}",
        suppress_keyboard_interrupt=False,
        result_action="return_value",
    )
    app["--help"].help, app["--version"].help = "Show this page.", "Show the version."
    # Help of these depends on the method, so they answer --help themselves.
    for command in (train, explain, bench, prefill):
        app.command(App(name=command.__name__, default_command=command, help_flags=(), version_flags=()))
    app.command(evaluate, usage="Usage: docendo evaluate WEIGHTS|RUN... [OPTIONS]")
    app.command(predict, usage="Usage: docendo predict WEIGHTS|RUN IMAGE... [OPTIONS]")
    app.command(compare, usage="Usage: docendo compare METHOD... [OPTIONS]")
    app.command(study, usage="Usage: docendo study FILE [OPTIONS]")
    app.command(tune, usage="Usage: docendo tune METHOD [OPTIONS]")
    app.command(show_list, name="list", usage="Usage: docendo list KIND [OPTIONS]")
    app.command(check, usage="Usage: docendo check METHOD")
    app.command(demo)
    app.command(report, usage="Usage: docendo report RUN|STUDY [OPTIONS]")
    app.command(cite, usage="Usage: docendo cite RUN|STUDY|METHOD...")
    return app


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and give its exit code: 0, 2 for what the user can put right, 130 or 143 if stopped.

    Args:
        argv: the words after "docendo"; by default those of this process.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    return guarded(lambda: make_app()(words, console=Output(), exit_on_error=False, print_error=False))

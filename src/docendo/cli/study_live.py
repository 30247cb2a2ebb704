"""A whole study on a terminal: how far it is, a line for each run at work, and one that stays for each that ended."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from docendo.cli.live import Drawn
from docendo.cli.show import duration

if TYPE_CHECKING:
    from docendo.studies.job import Job
    from docendo.studies.overview import Event, Overview, Watch


class LiveStudy(Drawn):
    """Shows a study while it is carried out (`docendo.studies.overview.Watch`)."""

    def begin(self, overview: Overview) -> None:
        """Show what there is to do."""
        from docendo.studies.watching import to_do

        self._overview = overview
        self._warned: set[str] = set()
        self.say(to_do(overview))
        self._draw()

    def started(self, job: Job) -> None:
        """Show that a run is at work."""
        self._draw()

    def heard(self, job: Job, event: Event) -> None:
        """Leave a warning once; draw, if the last picture is old enough."""
        if isinstance(event, str):
            if event.startswith("warning") and event not in self._warned:
                self._warned.add(event)
                self._console.print(f"{job.name}: {event}", style="yellow")
        elif self._is_old():
            self._draw()

    def ended(self, job: Job, result: str, failed: bool) -> None:
        """Leave a line with its result, or why it failed."""
        self._console.print(f"{job.name}{' FAILED' if failed else ''}: {result}", style="red" if failed else "")
        self._draw()

    def say(self, text: str) -> None:
        """Print a line above."""
        self._console.print(text)

    def _picture(self) -> RenderableType:
        o, left = self._overview, self._overview.left()
        rows: list[tuple[str, float, str]] = [
            (
                f"{len(o.finished)} of {len(o.jobs)} runs{f', {len(o.failed)} failed' if o.failed else ''}",
                o.part(),
                "" if left is None else f"{duration(left)} left",
            )
        ]
        by_name = {job.name: job for job in o.jobs}
        for name, at in o.running.items():
            if at is None:
                rows.append((name, 0.0, "begins"))
            else:
                rows.append((name, at.done / by_name[name].epochs, f"{at.phase} {at.epoch}/{at.epochs}"))
        made = Table.grid(expand=True, padding=(0, 1))
        made.add_column(no_wrap=True, overflow="ellipsis")
        made.add_column(ratio=1, min_width=4)
        made.add_column(justify="right", no_wrap=True)
        for what, part, how in rows:
            made.add_row(what, ProgressBar(total=1.0, completed=min(part, 1.0)), how)
        return Group(Text(), made)


@contextmanager
def watch_on(console: Console) -> Iterator[Watch]:
    """Give a picture that is redrawn where that is possible, else plain lines."""
    import os
    import sys

    if sys.stdout.isatty() and os.environ.get("TERM") not in ("dumb", "unknown"):
        with LiveStudy(console) as shown:
            yield shown
        return
    from docendo.studies.watching import StudyLines

    yield StudyLines(sys.stdout)

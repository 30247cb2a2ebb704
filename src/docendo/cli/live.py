"""Progress on a terminal: a few lines that are redrawn, and one line that stays for each finished phase."""

from __future__ import annotations

import os
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self, TextIO

from rich import live
from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from docendo.cli.show import Output, duration, percent
from docendo.engine.progress import Lines, Losses, Progress

EVERY = 0.25
"""Seconds between two pictures."""


class Drawn(ABC):
    """A few lines on a terminal, drawn again from within the work that they show, so that nothing runs beside it.

    Args:
        console: a terminal.
        clock: gives seconds.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._clock = console, clock
        self._live = live.Live(console=console, auto_refresh=False, transient=True)
        self._last = 0.0

    @abstractmethod
    def _picture(self) -> RenderableType:
        """Give the lines."""

    def _draw(self) -> None:
        self._last = self._clock()
        self._live.update(self._picture(), refresh=True)

    def _is_old(self) -> bool:
        return self._clock() - self._last >= EVERY

    def __enter__(self) -> Self:
        """Take the terminal."""
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the terminal back, the cursor shown."""
        self._live.update(Text(), refresh=True)
        self._live.stop()


class Live(Drawn):
    """Shows the running phase: epoch, bar, time left, losses, accuracy, speed (`docendo.engine.progress.Progress`)."""

    def say(self, text: str) -> None:
        """Print a line above."""
        self._console.print(text, style="yellow" if text.startswith("warning") else "")

    def phase(self, name: str, epochs: int, steps: int, done: int) -> None:
        """Start with an empty picture."""
        self._name, self._epochs, self._steps = name, epochs, steps
        self._done = self._first = done
        self._epoch = min(done // steps + 1, epochs)
        self._began = self._since = self._clock()
        self._losses: Mapping[str, float] = {}
        self._seen, self._speed, self._accuracies = 0, 0.0, ""
        self._draw()

    def step(self, epoch: int, step: int, images: int, losses: Losses) -> None:
        """Draw, if the last picture is old enough."""
        self._epoch, self._done = epoch, (epoch - 1) * self._steps + step
        self._seen += images
        if self._is_old():
            self._losses = losses()
            if (passed := self._clock() - self._since) > EVERY:
                self._speed = self._seen / passed
            self._draw()

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Note accuracies; leave one line after the last epoch."""
        self._speed = row["images_per_second"]
        self._losses = {k.removeprefix("loss/"): v for k, v in row.items() if k.startswith("loss/")}
        self._accuracies = accuracies(row)
        self._since, self._seen = self._clock(), 0
        if row["epoch"] < self._epochs:
            self._draw()
            return
        self._live.update(Text(), refresh=True)
        self.say(finished(self._name, self._epochs, self._clock() - self._began, row))

    def _picture(self) -> RenderableType:
        total = self._epochs * self._steps
        head = Table.grid(expand=True, padding=(0, 1))
        head.add_column(no_wrap=True, overflow="ellipsis")
        head.add_column(ratio=1, min_width=4)
        for _ in range(2):
            head.add_column(justify="right", no_wrap=True)
        made = self._done - self._first
        left = (self._clock() - self._began) / made * (total - self._done) if made else None
        head.add_row(
            f"{self._name}: epoch {self._epoch}/{self._epochs}",
            ProgressBar(total=total, completed=self._done),
            f"{self._done / total:.0%}",
            "" if left is None else f"{duration(left)} left",
        )
        facts = [f"{name} {value:.4g}" for name, value in self._losses.items()]
        if self._speed:
            facts.append(f"{self._speed:,.0f} images/s")
        lines: list[RenderableType] = [head]
        if facts:
            lines.append(Columns([Text(fact, no_wrap=True) for fact in facts], padding=(0, 2)))
        if self._accuracies:
            lines.append(Text(self._accuracies))
        return Group(*lines)


@contextmanager
def progress_on(console: Console, *, short: bool = False) -> Iterator[Progress]:
    """Give live progress where lines can be redrawn, else plain lines: one an epoch, or in short one a phase."""
    if sys.stdout.isatty() and os.environ.get("TERM") not in ("dumb", "unknown"):
        with Live(console) as shown:
            yield shown
    else:
        yield PhaseLines(sys.stdout) if short else Lines(sys.stdout)


@contextmanager
def progress_here() -> Iterator[Progress]:
    """Give progress on the terminal of the process that trains, which may not be the one that the user started."""
    with progress_on(Output()) as progress:
        yield progress


class PhaseLines:
    """Plain progress in short: what must be said, and a line for each finished phase.

    Args:
        stream: where lines go.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def say(self, text: str) -> None:
        """Write the line."""
        print(text, file=self._stream, flush=True)

    def phase(self, name: str, epochs: int, steps: int, done: int) -> None:
        """Note when it began."""
        self._name, self._epochs, self._began = name, epochs, time.monotonic()

    def step(self, epoch: int, step: int, images: int, losses: Losses) -> None:
        """Write nothing."""

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Write a line after the last epoch."""
        if row["epoch"] == self._epochs:
            self.say(finished(self._name, self._epochs, time.monotonic() - self._began, row))


def accuracies(row: Mapping[str, Any]) -> str:
    """Write the validation accuracies of a row of metrics; nothing if there are none.

    >>> accuracies({"epoch": 3, "val_top1/student": 0.95})
    'validation top-1: student 95.00%'
    """
    tops = [f"{k.removeprefix('val_top1/')} {percent(v)}" for k, v in row.items() if k.startswith("val_top1/")]
    return f"validation top-1: {', '.join(tops)}" if tops else ""


def finished(name: str, epochs: int, seconds: float, row: Mapping[str, Any]) -> str:
    """Write one line about a finished phase.

    >>> finished("student", 10, 61, {"images_per_second": 1234.5, "val_top1/student": 0.95})
    'student: 10 epochs in 1:01, 1,234 images/s, validation top-1: student 95.00%'
    """
    about = f"{name}: {epochs} epoch{'s' if epochs > 1 else ''} in {duration(seconds)}"
    return ", ".join(part for part in (about, f"{row['images_per_second']:,.0f} images/s", accuracies(row)) if part)

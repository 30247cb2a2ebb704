"""Live progress on a terminal."""

import io
import re
import sys
from collections.abc import Mapping
from typing import Any

import pytest
from rich.console import Console

from docendo.cli.live import Live, PhaseLines, progress_on
from docendo.engine.progress import Lines


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal:
    """A terminal in a string, read piece by piece."""

    def __init__(self, width: int = 60) -> None:
        self.stream = io.StringIO()
        self.console = Console(file=self.stream, force_terminal=True, color_system=None, width=width, markup=False)

    def take(self) -> str:
        text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.stream.getvalue()).replace("\r", "\n")
        self.stream.seek(0)
        self.stream.truncate()
        return text


def row(epoch: int, **more: Any) -> dict[str, Any]:
    return {"epoch": epoch, "images_per_second": 1234.5, "loss/student<labels:ce": 0.5, **more}


def test_a_phase_from_start_to_end() -> None:
    terminal, clock, asked = Terminal(), Clock(), []

    def losses() -> Mapping[str, float]:
        asked.append(clock.now)
        return {"student<labels:ce": 1.25, "student<teacher:kd": 3.5}

    with Live(terminal.console, clock) as live:
        live.say("teacher (frozen): 97.0% of 143 validation images right")
        assert "teacher (frozen): 97.0%" in terminal.take()
        live.phase("student", 2, 100, 0)
        assert "student: epoch 1/2" in terminal.take()
        for step in range(1, 101):
            clock.now += 0.1
            live.step(1, step, 64, losses)
        # A bar is drawn, and losses are fetched, a few times a second at most.
        assert len(asked) == 33
        text = terminal.take()
        assert "student<labels:ce 1.25" in text
        assert "student<teacher:kd 3.5" in text
        assert "640 images/s" in text
        assert " 50%" in text
        assert "0:10 left" in text
        live.epoch(row(1, **{"val_top1/student": 0.9512}))
        assert "validation top-1: student 95.12%" in terminal.take()
        clock.now += 20
        live.epoch(row(2, **{"val_top1/student": 0.97}))
    last = " ".join(terminal.take().split())
    assert last.endswith("student: 2 epochs in 0:30, 1,234 images/s, validation top-1: student 97.00%")


def test_a_resumed_phase_counts_from_where_it_goes_on() -> None:
    terminal, clock = Terminal(), Clock()
    with Live(terminal.console, clock) as live:
        live.phase("student", 10, 10, 50)
        assert "epoch 6/10" in terminal.take()
        for step in range(1, 11):
            clock.now += 1
            live.step(6, step, 64, dict)
    text = terminal.take()
    assert " 60%" in text
    assert "0:40 left" in text


@pytest.mark.parametrize("width", [40, 60, 100])
def test_every_line_fits(width: int) -> None:
    terminal, clock = Terminal(width), Clock()
    with Live(terminal.console, clock) as live:
        live.phase("friendly teacher", 240, 782, 0)
        clock.now += 5
        live.step(1, 700, 64, lambda: {f"branches.{i}<teacher:kl": 0.123456 for i in range(4)})
    lines = terminal.take().splitlines()
    assert max(map(len, lines)) <= width
    assert any(line.startswith("friendly teacher: epoch") for line in lines)
    assert sum("branches." in line for line in lines) >= 2


def test_without_validation_images_nothing_is_said_of_them() -> None:
    terminal = Terminal(100)
    with Live(terminal.console) as live:
        live.phase("student", 1, 1, 0)
        live.epoch(row(1))
    assert "validation" not in terminal.take()


def test_the_cursor_comes_back_after_an_error() -> None:
    terminal = Terminal()

    def stopped() -> None:
        with Live(terminal.console) as live:
            live.phase("student", 1, 1, 0)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    text = terminal.stream.getvalue()
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")


def test_short_lines_say_one_thing_a_phase() -> None:
    stream = io.StringIO()
    lines = PhaseLines(stream)
    lines.say("kd, seed 0")
    lines.phase("teacher", 2, 3, 0)
    for epoch in (1, 2):
        lines.step(epoch, 3, 64, dict)
        lines.epoch(row(epoch, **{"val_top1/teacher": 0.9}))
    assert stream.getvalue() == (
        "kd, seed 0\nteacher: 2 epochs in 0:00, 1,234 images/s, validation top-1: teacher 90.00%\n"
    )


@pytest.mark.parametrize(
    ("terminal", "term", "short", "kind"),
    [
        (True, "xterm", False, Live),
        (True, "xterm", True, Live),
        (True, "dumb", False, Lines),
        (False, "xterm", False, Lines),
        (False, "xterm", True, PhaseLines),
    ],
)
def test_live_only_where_lines_can_be_redrawn(
    terminal: bool, term: str, short: bool, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal, raising=False)
    monkeypatch.setenv("TERM", term)
    with progress_on(Console(file=io.StringIO()), short=short) as progress:
        assert isinstance(progress, kind)


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    console = Console(file=io.StringIO(), force_terminal=True, width=60)
    assert console.no_color

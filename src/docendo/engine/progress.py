"""How a run shows what it does: plain lines here; the command line adds a live bar."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TextIO

Losses = Callable[[], Mapping[str, float]]


class Progress(Protocol):
    """What the engine tells while it works."""

    def say(self, text: str) -> None:
        """Show one line that matters."""

    def phase(self, name: str, epochs: int, steps: int, done: int) -> None:
        """Start a phase of so many epochs of so many steps, of which `done` steps are done."""

    def step(self, epoch: int, step: int, images: int, losses: Losses) -> None:
        """One step of so many images was made; `losses()` gives the means so far, and costs a wait for the device."""

    def epoch(self, row: Mapping[str, Any]) -> None:
        """An epoch ended, with this row of metrics."""


class Silent:
    """Shows nothing."""

    def say(self, text: str) -> None:
        """Drop the line."""

    def phase(self, name: str, epochs: int, steps: int, done: int) -> None:
        """Show nothing."""

    def step(self, epoch: int, step: int, images: int, losses: Losses) -> None:
        """Show nothing."""

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Show nothing."""


class Lines:
    """Plain lines: one an epoch, and one every half minute within long epochs.

    Args:
        stream: where they go.
        every: seconds between lines within an epoch.
    """

    def __init__(self, stream: TextIO, every: float = 30.0) -> None:
        self._stream, self._every = stream, every

    def say(self, text: str) -> None:
        """Write the line."""
        print(text, file=self._stream, flush=True)

    def phase(self, name: str, epochs: int, steps: int, done: int) -> None:
        """Note what is coming."""
        self._name, self._epochs, self._steps = name, epochs, steps
        self._last = time.monotonic()
        going_on = f", going on after epoch {done // steps}, step {done % steps}" if done else ""
        self.say(f"{name}: {epochs} epoch{'s' * (epochs > 1)} of {steps} steps{going_on}")

    def step(self, epoch: int, step: int, images: int, losses: Losses) -> None:
        """Write a line if the last is long ago."""
        if time.monotonic() - self._last >= self._every:
            self._last = time.monotonic()
            self.say(f"{self._name}: epoch {epoch}/{self._epochs}, step {step}/{self._steps}  {terms_text(losses())}")

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Write the epoch's line."""
        self._last = time.monotonic()
        self.say(f"{self._name}: epoch {row['epoch']}/{self._epochs}  {row_text(row)}")


class Both:
    """Tells two listeners the same."""

    def __init__(self, first: Progress, second: Progress) -> None:
        self._all = (first, second)

    def say(self, text: str) -> None:
        """Tell both."""
        for one in self._all:
            one.say(text)

    def phase(self, name: str, epochs: int, steps: int, done: int) -> None:
        """Tell both."""
        for one in self._all:
            one.phase(name, epochs, steps, done)

    def step(self, epoch: int, step: int, images: int, losses: Losses) -> None:
        """Tell both."""
        for one in self._all:
            one.step(epoch, step, images, losses)

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Tell both."""
        for one in self._all:
            one.epoch(row)


def terms_text(losses: Mapping[str, float]) -> str:
    """Write loss terms on one line."""
    return "  ".join(f"{name} {value:.4g}" for name, value in losses.items())


def row_text(row: Mapping[str, Any]) -> str:
    """Write a row of metrics on one line: losses, accuracies, speed."""
    losses = {key.removeprefix("loss/"): value for key, value in row.items() if key.startswith("loss/")}
    tops = "  ".join(
        f"{key.partition('/')[2]} {value:.1%}" for key, value in row.items() if key.startswith("val_top1/")
    )
    validation = f"  validation: {tops}" if tops else ""
    return f"{terms_text(losses)}{validation}  {row['images_per_second']:.0f} images/s"

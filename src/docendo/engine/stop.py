"""Ctrl-C and SIGTERM as a wish to stop at the next safe point."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType


class StopRequest:
    """While entered, the first Ctrl-C or SIGTERM is noted in `signal`; a second Ctrl-C interrupts at once.

    Attributes:
        signal: the signal that asked to stop, or None.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> StopRequest:
        """Start to listen; only the main thread can."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    @property
    def who(self) -> str:
        """Who asked, in words."""
        return "Ctrl-C" if self.signal in (signal.SIGINT, None) else self.signal.name

    @property
    def exit_code(self) -> int:
        """The exit status that shells expect."""
        return 128 + (self.signal or signal.SIGINT).value

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = signal.Signals(number)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Listen no longer."""
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

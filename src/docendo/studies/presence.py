"""Who works on a study: locks that the kernel lets go of when a process ends, however it ends."""

from __future__ import annotations

import contextlib
import os
import platform
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from docendo.errors import DocendoError

PATIENCE = 10.0
"""Seconds in which the processes of a study that was killed notice it."""


def machine() -> str:
    """Name this machine, up to its next start: locks say something about processes of the same one only."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return platform.node()


class Presence:
    """This process among those that work on a study, from `enter` to `leave`.

    Args:
        folder: the study's.
        alone: whether no other may work on it: without a storage nobody would know who does what.

    Attributes:
        name: tells it from all others.
        is_alone: whether no other may be there.
        path: a file that it and the processes that work for it hold a lock on.
    """

    def __init__(self, folder: Path, *, alone: bool) -> None:
        self._folder, self.is_alone = folder, alone
        self.name = f"{platform.node()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self.path = folder / ".workers" / f"{self.name}.lock"
        self._held: list[TextIO] = []

    def enter(self) -> None:
        """Come to work.

        Raises:
            DocendoError: if others are there and it must be alone, or one of them must.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        whole = hold(self._folder / ".lock", shared=not self.is_alone)
        if whole is None:
            raise DocendoError(self._refusal())
        self._held.append(whole)
        if self.is_alone:
            self._wait_for_others()
        mine = hold(self.path, shared=True)
        assert mine is not None  # nobody else knows of this file yet
        self._held.append(mine)

    def leave(self) -> None:
        """Go."""
        self.path.unlink(missing_ok=True)
        for file in self._held:
            file.close()

    def is_gone(self, name: str) -> bool:
        """Say whether one that worked on this machine has ended, and all processes that worked for it."""
        return _is_free(self.path.with_name(f"{name}.lock"))

    def _wait_for_others(self) -> None:
        """Wait for processes whose study was killed; they end when they notice it."""
        until = time.monotonic() + PATIENCE
        for path in self.path.parent.glob("*.lock"):
            while not _is_free(path):
                if time.monotonic() > until:
                    self.leave()
                    raise DocendoError(self._refusal())
                time.sleep(0.05)
            path.unlink(missing_ok=True)

    def _refusal(self) -> str:
        how = "" if self.is_alone else " without --storage"
        return (
            f"another process works on the study in {self._folder}{how}: wait for it, choose another --out, or let "
            "several share the work by giving each the same --storage"
        )


@contextlib.contextmanager
def present(presence: Presence) -> Iterator[None]:
    """Be present."""
    presence.enter()
    try:
        yield
    finally:
        presence.leave()


def hold(path: Path, *, shared: bool) -> TextIO | None:
    """Lock a file for as long as it stays open; None if others keep it.

    Windows has no such locks: there nobody is kept out.
    """
    file = path.open("a")
    try:
        import fcntl
    except ImportError:
        return file
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def _is_free(path: Path) -> bool:
    try:
        import fcntl  # noqa: F401
    except ImportError:
        return False  # nothing is known of it
    if not path.exists():
        return True
    file = hold(path, shared=False)
    if file is None:
        return False
    file.close()
    return True

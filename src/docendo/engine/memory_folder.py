"""Where remembered answers lie, how much room they may take, and who has to go when there is too little."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any, TextIO

_ABOUT = "about.json"
_ROOM = "bytes promised"


def memory_folder() -> Path:
    """Give the folder of all remembered answers: in XDG_CACHE_HOME, or "~/.cache"."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "docendo" / "teacher-memory"


def budget_of(teacher_memory: str) -> int:
    """Give the bytes that all remembered answers may take.

    Args:
        teacher_memory: as for `size_of`; "auto" is 4 GiB, or a tenth of the free disk if that is less.

    Raises:
        ValueError: as `size_of`.
    """
    size = size_of(teacher_memory)
    if size is None:
        place = next(p for p in (memory_folder(), *memory_folder().parents) if p.exists())
        size = min(2**32, shutil.disk_usage(place).free // 10)
    return size


def size_of(teacher_memory: str) -> int | None:
    """Read "off", "auto", or a size such as "500MB" in bytes; None for "auto".

    Raises:
        ValueError: it is none of these.

    >>> size_of("off"), size_of("1.5 GB"), size_of("20mb"), size_of("auto")
    (0, 1500000000, 20000000, None)
    """
    if teacher_memory in ("off", "auto"):
        return 0 if teacher_memory == "off" else None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt])?b?", teacher_memory.strip().lower())
    if not found:
        raise ValueError("auto, off, or a size such as 500MB or 20GB")
    return int(float(found[1]) * 1000 ** " kmgt".index(found[2] or " "))


def folder_for(about: Mapping[str, Any]) -> Path:
    """Give the folder of the answers that depend on all this."""
    return memory_folder() / blake2b(json.dumps(about, sort_keys=True).encode(), digest_size=16).hexdigest()


class Place:
    """One folder of answers, in use until it is closed, so that nobody takes it for one that may go.

    The answers that were used longest ago go first, where there is not room enough for these.

    Args:
        about: what the answers depend on; kept beside them for who wonders what they are.
        budget: bytes that all answers may take.
        wanted: bytes that these may come to.

    Attributes:
        folder: where to put the answers.
        budget: bytes that these may take.

    Raises:
        OSError: the folder cannot be written.
    """

    def __init__(self, about: Mapping[str, Any], budget: int, wanted: int) -> None:
        self.folder = folder_for(about)
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with _one_at_a_time():
            self.folder.mkdir(exist_ok=True)
            self._in_use: TextIO = (self.folder / _ABOUT).open("a")
            _lock(self._in_use, shared=True)
            others = [p for p in memory_folder().iterdir() if p != self.folder and (p / _ABOUT).exists()]
            taken = {p: _room_of(p) for p in others}
            for oldest in sorted(others, key=lambda p: (p / _ABOUT).stat().st_mtime):
                if sum(taken.values()) + wanted <= budget:
                    break
                if _removed(oldest):
                    del taken[oldest]
            room = budget - sum(taken.values())
            text = json.dumps({**about, _ROOM: max(0, min(room, wanted))}, indent=1, sort_keys=True)
            self.budget = room - len(text)
            self._in_use.truncate(0)
            self._in_use.write(text)
            self._in_use.flush()

    def close(self) -> None:
        """Let others take the room, should they need it."""
        self._in_use.close()


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Let nobody else look for room meanwhile, who would count with what is taken here, or take it away."""
    with memory_folder().with_suffix(".lock").open("w") as lock:
        with contextlib.suppress(ImportError):  # as in `_lock`
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _room_of(folder: Path) -> int:
    """Give the bytes that answers take, or have been promised while somebody uses them."""
    size = sum(file.stat().st_size for file in folder.iterdir())
    with contextlib.suppress(OSError, ValueError, AttributeError, TypeError), (folder / _ABOUT).open() as about:
        if not _lock(about, shared=False):
            return max(size, int(json.load(about).get(_ROOM, 0)))
    return size


def _removed(folder: Path) -> bool:
    """Remove a folder of answers unless somebody uses it."""
    with contextlib.suppress(OSError), (folder / _ABOUT).open() as about:
        if _lock(about, shared=False):
            shutil.rmtree(folder)
            return True
    return False


def _lock(file: TextIO, *, shared: bool) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows has no such locks, and there files that are open cannot be removed.
        return True
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        return True
    return False

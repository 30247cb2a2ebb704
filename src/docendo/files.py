"""Writing files so that a crash, a full disk or a kill leaves either the old file or the new one, never half of one."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from docendo.errors import DocendoError


def write_atomically(path: Path, data: bytes) -> None:
    """Replace the file at `path` by `data`, or leave what was there.

    Args:
        path: where to write; its folder must exist.
        data: the whole content.

    Raises:
        DocendoError: if it could not be written (full disk, no permission, no folder).
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
    except OSError as error:
        before = "the file that was there is intact" if path.exists() else "nothing was left behind"
        raise DocendoError(
            f"could not write {path}: {error.strerror or error}; {before}; "
            "free some space there or choose another folder, then try again"
        ) from error

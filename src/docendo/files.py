"""Writing files so that a crash or a full disk leaves the old one or the new one whole; reading people's YAML."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import yaml

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


def read_yaml(path: Path, *, wrong: str, what: str = "") -> dict[str, Any]:
    """Read a YAML file of keys and values.

    Args:
        path: the file.
        wrong: what to say after its path if it holds something else.
        what: what it is, before its path, for the message that it cannot be read: "the study".

    Raises:
        DocendoError: it cannot be read, is no YAML, or holds no keys.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DocendoError(f"cannot read {what and f'{what} '}{path}: {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DocendoError(f"{path} is not a YAML file: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise DocendoError(f"{path} {wrong}")
    return values

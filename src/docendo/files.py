"""Writing files so that a crash or a full disk leaves the old one or the new one whole; reading YAML and JSON."""

from __future__ import annotations

import contextlib
import json
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


class _EachKeyOnce(yaml.SafeLoader):
    """Refuses a key that is there twice, of which the first would count for nothing."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if isinstance(key, str) and keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f'"{key}" is there twice', node.start_mark)
        return super().construct_mapping(node, deep)


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
        values = yaml.load(path.read_text(encoding="utf-8"), _EachKeyOnce)
    except OSError as error:
        raise DocendoError(f"cannot read {what and f'{what} '}{path}: {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DocendoError(f"{path} is not a YAML file: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise DocendoError(f"{path} {wrong}")
    return values


def read_json(path: Path) -> dict[str, Any]:
    """Read a file that holds a JSON object.

    Raises:
        DocendoError: if it cannot be read, or holds none.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DocendoError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise DocendoError(f"{path} is damaged ({error}): make it again, or move it away") from error
    if not isinstance(found, dict):
        raise DocendoError(f"{path} holds no JSON object: it was not written by docendo")
    return found


def read_results(folder: Path) -> dict[str, Any]:
    """Read the `results.json` of a finished run's folder.

    Raises:
        DocendoError: if it cannot be read, or does not hold what a run's results hold.
    """
    path = folder / "results.json"
    found = read_json(path)
    missing = [key for key in ("method", "seed", "data", "deployed", "networks") if key not in found]
    if missing or found["deployed"] not in found["networks"]:
        what = f"there is no {missing[0]}" if missing else "the network to deploy is not among its networks"
        raise DocendoError(f"{path} is damaged ({what}): make it again, or move it away")
    return found

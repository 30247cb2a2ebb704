"""The folder of a run: whose it is, what it holds, and how its command reads."""

from __future__ import annotations

import contextlib
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

import yaml
from pydantic import ValidationError

from docendo.engine.store import OF_THE_MACHINE
from docendo.errors import DocendoError
from docendo.files import write_atomically
from docendo.methods.names import label_of
from docendo.recipes.following import standard_of
from docendo.recipes.settings import RUN_KEYS, RunSettings

_FLAGS = {
    "recipe": "--recipe",
    "data.name": "--data",
    "data.root": "--root",
    "data.image_size": "--image-size",
    "epochs": "--epochs",
    "batch_size": "--batch-size",
    "lr": "--lr",
    "seed": "--seed",
    "devices": "--devices",
    "strategy": "--strategy",
    "precision": "--precision",
    "accelerator": "--accelerator",
    "teacher_memory": "--teacher-memory",
}
_SWITCHES = {"data.download": "--download", "data.skip_corrupt": "--skip-corrupt", "pretrained": "--pretrained"}


def default_folder(settings: RunSettings) -> Path:
    """Name a run's folder after what it is: "runs/kd-digits-resnet20-resnet8-seed0"."""
    several = folder_of_seeds(settings)
    return several.with_name(f"{several.name}-seed{settings.seed}")


def folder_of_seeds(settings: RunSettings) -> Path:
    """Name the folder of several seeds' runs: "runs/kd-digits-resnet20-resnet8"."""
    networks = [Path(n).stem for n in settings.networks.values()]
    return Path("runs") / "-".join([label_of(settings.method), Path(settings.data.name).name, *networks])


def command_of(settings: RunSettings, method: Any, out: Path, seeds: Sequence[int] = ()) -> str:
    """Write the command line that makes this run, or the runs of several seeds."""
    words = ["docendo", "train", settings.method]
    for role, network in settings.networks.items():
        words += [f"--{role}", network]
    standard = standard_of(settings, method)
    usual = standard.settings
    for key, value in settings.settings.items():
        if key not in usual or value != usual[key]:  # a held method other than the default has other settings
            words += ["--set", f"{key}={str(value).lower() if isinstance(value, bool) else value}"]
    values, plain = settings.model_dump(mode="json"), standard.model_dump(mode="json")
    always = {"data.name", "epochs", "seed"} | ({"recipe"} if settings.recipe else set())
    for key in RUN_KEYS:
        value = _at(values, key)
        if value != _at(plain, key) or key in always:
            if key == "seed" and seeds:
                words += ["--seeds", ",".join(map(str, seeds))]
            elif key in _SWITCHES:
                words += [_SWITCHES[key]]
            elif key in _FLAGS:
                words += [_FLAGS[key], str(value)]
            else:
                words += ["--set", f"{key}={'null' if value is None else json.dumps(value).strip(chr(34))}"]
    return shlex.join([*words, "--out", str(out)])


def names_in(path: Path) -> set[str]:
    """Give what is in a folder that is to be written to, hidden files left out; nothing if it is not there yet.

    Raises:
        DocendoError: if it is a file.
    """
    if path.exists() and not path.is_dir():
        raise DocendoError(f"{path} is a file: choose another --out")
    return {p.name for p in path.iterdir() if not p.name.startswith(".")} if path.is_dir() else set()


def check_folder(path: Path, settings: RunSettings, *, resume: bool) -> None:
    """Make sure that a run may use a folder; changes nothing.

    Args:
        path: the folder, which need not be there yet.
        settings: the run's settings.
        resume: whether a run of the same settings may go on in it.

    Raises:
        DocendoError: if the folder holds something else, another run, or this run and `resume` is not asked for.
    """
    config, names = path / "config.yaml", names_in(path)
    if not config.exists():
        if names:
            raise DocendoError(f"{path} holds files but no run of docendo: choose an empty or new folder as --out")
        return
    try:
        then = yaml.safe_load(config.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise DocendoError(f"{config} cannot be read ({error}): choose another --out") from error
    with contextlib.suppress(ValidationError):  # settings that are younger than that run had their defaults in it
        then = RunSettings.model_validate(then).model_dump(mode="json")
    now = settings.model_dump(mode="json", exclude=OF_THE_MACHINE)
    differences = [
        f"{k} is {_at(then, k)} there, {_at(now, k)} here" for k in _flat(now) if _at(then, k) != _at(now, k)
    ]
    if differences:
        more = f", and {len(differences) - 3} more" if len(differences) > 3 else ""
        raise DocendoError(f"{path} belongs to another run ({'; '.join(differences[:3])}{more}): choose another --out")
    if not resume:
        state = "finished" if (path / "results.json").exists() else "begun"
        raise DocendoError(f"{path} already holds this run, {state}: add --resume to go on, or choose another --out")


def locked(path: Path) -> TextIO:
    """Keep others from working in a folder until what is given is closed.

    Raises:
        DocendoError: if another process works there.
        OSError: if the folder cannot be written.
    """
    lock = (path / ".lock").open("w")
    try:
        import fcntl
    except ImportError:  # Windows has no such locks; runs there are not guarded against a second process.
        return lock
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise DocendoError(f"another process is training in {path}: wait for it, or choose another --out") from None
    return lock


class RunFolder:
    """A folder that belongs to one run, locked while it is open.

    Args:
        path: the folder; made if it is not there.
        settings: the run's settings.
        resume: whether a run of the same settings may go on in it.

    Raises:
        DocendoError: as `check_folder`, or if another process works in the folder.
    """

    def __init__(self, path: Path, settings: RunSettings, *, resume: bool) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock = locked(path)
        except OSError as error:
            raise DocendoError(f"cannot write in {path}: {error.strerror or error}; choose another --out") from error
        try:
            check_folder(path, settings, resume=resume)
            if not (path / "config.yaml").exists():
                text = yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
                write_atomically(path / "config.yaml", text.encode())
        except DocendoError:
            self.close()
            raise

    def close(self) -> None:
        """Let others work here."""
        self._lock.close()


def _flat(values: Any, prefix: str = "") -> list[str]:
    if not isinstance(values, dict) or not values:
        return [prefix.rstrip(".")]
    # Settings of held methods have dots in their keys already, so they are compared as one.
    keep_whole = prefix in ("settings.",)
    return [
        k
        for key, value in values.items()
        for k in ([f"{prefix}{key}"] if keep_whole else _flat(value, f"{prefix}{key}."))
    ]


def _at(values: Any, key: str) -> Any:
    if key.startswith("settings."):
        return (values or {}).get("settings", {}).get(key.removeprefix("settings."))
    for part in key.split("."):
        with contextlib.suppress(AttributeError):
            values = values.get(part)
    return values

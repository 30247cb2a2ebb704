"""What a run keeps of its phases: checkpoints on the way, results at the end, and the rows of its metrics.

Files hold plain types and tensors only, are replaced atomically, and are read without running code. Each carries the
fingerprint of what it came from, so that a stale one is refused instead of believed.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import inspect
import io
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from pathlib import Path
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import nn

from docendo.core import Phase
from docendo.engine.networks import adaptation_of
from docendo.engine.settings import TrainSettings
from docendo.errors import DocendoError
from docendo.files import write_atomically

Fingerprint = dict[str, Any]

OF_THE_MACHINE: Any = {
    **dict.fromkeys(("accelerator", "devices", "nodes", "strategy", "shard_frozen"), True),
    **dict.fromkeys(("teacher_memory", "winograd", "checkpoint_seconds"), True),
    "data": {"workers": True, "root": True, "download": True},
}
"""Settings that say how a run is carried out and not, but for rounding, what it learns: a run may go on with others."""


def fingerprint(phase: Phase, settings: TrainSettings, data: str, seed: int) -> Fingerprint:
    """Say what the result of a phase depends on: losses, recipe, data, seed, and all starting and frozen weights.

    Upstream phases are in it by the weights that they left behind; frozen networks also by what images they expect.
    """
    losses = phase.losses
    owner = getattr(losses, "__self__", None)
    what = f"{owner!r}.{losses.__name__}" if owner is not None else getattr(losses, "__qualname__", repr(losses))
    written = dict(_own_code(losses))
    return {
        "phase": phase.name,
        "losses": re.sub(r" at 0x[0-9a-f]+", "", what),  # where a function lies in memory is nothing it depends on
        # What is as it is by default is left out, so that settings which come with a later version change nothing.
        "recipe": settings.model_dump(mode="json", exclude=OF_THE_MACHINE, exclude_defaults=True),
        "data": data,
        "seed": seed,
        "stream": stream_of(phase),
        "fraction": phase.fraction,
        "learning rates": dict(phase.learning_rates),
        "frozen statistics": phase.frozen_statistics,
        "alternating": phase.alternating,
        "first weights": {role: digest(module) for role, module in phase.learners.items()},
        "frozen weights": {role: digest(module) for role, module in phase.frozen.items()},
        "images of frozen networks": {role: repr(adaptation_of(module)) for role, module in phase.frozen.items()},
        **({"your code": written} if written else {}),
    }


def _own_code(part: Any) -> Iterator[tuple[str, str]]:
    """Hash what the user has written of losses: functions and classes, those in the fields of others among them."""
    for thing in (part,) if isinstance(part, FunctionType) else type(part).__mro__:
        package = thing.__module__.partition(".")[0]
        if package not in {"docendo", "torch", *sys.stdlib_module_names}:
            with contextlib.suppress(OSError, TypeError):  # typed into a session, say
                source = inspect.getsource(thing).encode()
                yield thing.__qualname__, hashlib.blake2b(source, digest_size=4).hexdigest()
    if isinstance(part, MethodType):
        yield from _own_code(part.__self__)
    held: Iterable[Any] = part if isinstance(part, tuple | list) else ()
    if isinstance(part, partial):
        held = part.func, *part.args
    elif is_dataclass(part):
        held = [getattr(part, field.name) for field in fields(part)]
    for one in held:
        yield from _own_code(one)


def stream_of(phase: Phase) -> str:
    """Name the random stream of a phase: its own, or its first learner's role."""
    return phase.stream or next(iter(phase.learners))


def digest(module: nn.Module) -> str:
    """Hash all weights and buffers of a module, names included."""
    hashed = hashlib.blake2b(digest_size=16)
    for name, tensor in module.state_dict().items():
        hashed.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        hashed.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return hashed.hexdigest()


class Slot:
    """The place of one phase in a run folder.

    Args:
        folder: where checkpoints lie.
        number: the phase's place in the run, from 1.
        phase: its name.
        made_from: its fingerprint.
    """

    def __init__(self, folder: Path, number: int, phase: str, made_from: Fingerprint) -> None:
        stem = f"{number:02d}-{re.sub(r'[^a-z0-9]+', '-', phase.lower()).strip('-')}"
        self.made_from = made_from
        self.checkpoint = folder / f"{stem}.pt"
        self.result = folder / f"{stem}.done.pt"

    def save(self, state: Mapping[str, Any]) -> None:
        """Replace the checkpoint."""
        self._write(self.checkpoint, state)

    def finish(self, state: Mapping[str, Any]) -> None:
        """Write the result, then drop the checkpoint."""
        self._write(self.result, state)
        self.checkpoint.unlink(missing_ok=True)

    def load_result(self) -> dict[str, Any] | None:
        """Give the finished phase's state, or None if there is none."""
        return self._read(self.result)

    def load_checkpoint(self) -> dict[str, Any] | None:
        """Give the last checkpoint, or None if there is none."""
        return self._read(self.checkpoint)

    def _write(self, path: Path, state: Mapping[str, Any]) -> None:
        buffer = io.BytesIO()
        torch.save({"made_from": json.dumps(self.made_from), **state}, buffer)
        write_atomically(path, buffer.getvalue())

    def _read(self, path: Path) -> dict[str, Any] | None:
        if not path.exists():
            return None
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            then = json.loads(state.pop("made_from"))
        except Exception as error:
            raise DocendoError(
                f"{path}: damaged checkpoint ({_first_line(error)}); delete it to repeat that phase"
            ) from error
        now = json.loads(json.dumps(self.made_from))
        changed = list(_differences(then, now))
        if changed:
            raise DocendoError(
                f"{path}: stale, it was made from something else ({'; '.join(changed)}); "
                "choose another --out, or delete that file to repeat the phase"
            )
        return state


class Records:
    """The rows of `metrics.jsonl` and `metrics.csv`, one an epoch and phase, both rewritten atomically.

    Args:
        folder: where the files are.
        writing: whether this process is the one that writes.
    """

    def __init__(self, folder: Path, *, writing: bool = True) -> None:
        self._folder, self._writing = folder, writing
        self._rows: list[dict[str, Any]] = []

    def write(self, phase_rows: list[dict[str, Any]]) -> None:
        """Write the rows of all finished phases and of this one."""
        if not self._writing:
            return
        rows = self._rows + phase_rows
        write_atomically(self._folder / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows).encode())
        columns = list(dict.fromkeys(key for row in rows for key in row))
        table = io.StringIO()
        writer = csv.DictWriter(table, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_atomically(self._folder / "metrics.csv", table.getvalue().encode())

    def keep(self, phase_rows: list[dict[str, Any]]) -> None:
        """Add the rows of a finished phase."""
        self._rows += phase_rows
        self.write([])


def _differences(then: Fingerprint, now: Fingerprint, of: str = "") -> Iterator[str]:
    """Say what was another, key by key."""
    for key in {**then, **now}:
        was, this = then.get(key), now.get(key)
        if isinstance(was, dict) and isinstance(this, dict):
            yield from _differences(was, this, f"{of}{key}: ")
        elif was != this:
            yield f"{of}{key} was {'unset' if was is None else was}, is {'unset' if this is None else this}"


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]

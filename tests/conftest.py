"""What many tests share: small runs, and ways to stop them."""

import json
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

import docendo
from docendo.engine.progress import Losses, Silent
from docendo.networks import catalog

collect_ignore = [] if torch.cuda.is_available() else ["engine/test_gpu.py"]

# One thread: the tests are tiny, and machines that run them are often busy.
torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what teachers have said out of the user's own memory of it, also in processes that tests start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


class StopAt(Silent):
    """Sends this process a signal after so many steps, counted over all phases."""

    def __init__(self, step: int, number: signal.Signals = signal.SIGTERM) -> None:
        self.left, self.number = step, number

    def step(self, epoch: int, step: int, images: int, losses: Losses) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), self.number)


class Said(Silent):
    """Keeps what was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


SMALL: Mapping[str, Any] = {"data.train_images": 200, "checkpoint_seconds": 0}


@pytest.fixture
def small_run(tmp_path: Path) -> Callable[..., docendo.Run]:
    """Train for two epochs of four steps on 200 digits; arguments as `docendo.train`, `set` added to."""

    def run(method: Any, out: str = "run", **more: Any) -> docendo.Run:
        sets = {**SMALL, **more.pop("set", {})}
        progress = more.pop("progress", Silent())
        return docendo.train(
            method, epochs=more.pop("epochs", 2), out=tmp_path / out, set=sets, progress=progress, **more
        )

    return run


@pytest.fixture
def only_our_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the networks that other tests have made known by name (tests/tiny.py)."""
    for name in catalog._REGISTERED:
        monkeypatch.delitem(catalog._TABLE, name)
    monkeypatch.setattr(catalog, "_REGISTERED", set())


def weights(folder: Path, role: str) -> dict[str, torch.Tensor]:
    """Give all tensors of a role's file."""
    from safetensors.torch import load_file

    return load_file(folder / f"{role}.safetensors")


def losses(run: docendo.Run) -> list[float]:
    """Give the total loss of each epoch."""
    return [json.loads(line)["loss/total"] for line in (run.folder / "metrics.jsonl").read_text().splitlines()]


def same(first: Mapping[str, torch.Tensor], second: Mapping[str, torch.Tensor]) -> bool:
    """Say whether two sets of tensors agree bit for bit."""
    return first.keys() == second.keys() and all(
        torch.equal(a.view(torch.uint8) if a.ndim else a, b.view(torch.uint8) if b.ndim else b)
        for a, b in zip(first.values(), (second[key] for key in first), strict=True)
    )

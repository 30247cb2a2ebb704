"""What every method promises, tried on a method of one's own."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor

from docendo.core import Method
from docendo.engine.progress import Losses, Silent
from docendo.errors import DocendoError
from docendo.methods import make, name_of, settings_of, values_of
from docendo.networks import create
from docendo.recipes.explanation import explain
from docendo.recipes.run import Run, train

NATIVE = {"student": "resnet8"}
CUT = {"student": "timm/test_resnet"}
EPOCHS, BATCH = 2, 50


class Promise(NamedTuple):
    """One promise, and what was found.

    Attributes:
        text: what is promised.
        broken: how it is broken; None if it is kept.
    """

    text: str
    broken: str | None


def check(method: str | Method) -> Iterator[Promise]:
    """Try, on small runs with the digits, what docendo's own methods are held to. Takes half a minute.

    Args:
        method: a method's name ("losses.py:Mine"), or a method object, of a class that other processes can import.

    Yields:
        The promises, one after the other as they are tried; after a rehearsal that fails nothing more is tried.

    Raises:
        DocendoError: an unknown method.
    """
    made: Any = make(method) if isinstance(method, str) else method
    name = name_of(made)
    with tempfile.TemporaryDirectory() as folder:
        trial = _Trial(made, Path(folder))
        rehearsed = [
            _tried(f"{name} rehearses with {kind}", partial(trial.rehearse, cast))
            for kind, cast in (("native networks", NATIVE), ("a network that is cut", CUT))
        ]
        yield from rehearsed
        yield _tried("settings say what they are, and where their defaults come from", partial(_settings_tell, made))
        if all(promise.broken for promise in rehearsed):
            return
        yield _tried("stopped within an epoch and resumed, it ends in the same weights", trial.resumes)
        yield _tried("the files to deploy hold the networks alone", trial.deploys_alone)
        yield _tried("two processes end in the weights of one", trial.shares)


def _tried(text: str, attempt: Callable[[], str | None]) -> Promise:
    try:
        return Promise(text, attempt())
    except DocendoError as error:
        return Promise(text, str(error))
    except Exception as error:  # a user's method may fail in any way, and each promise is tried for itself
        return Promise(text, f"{type(error).__name__}: {error}")


class _Killed(Exception):
    pass


class _KilledAt(Silent):
    """Ends the run, with no chance to save, after so many steps over all phases."""

    def __init__(self, step: int) -> None:
        self.left = step

    def step(self, epoch: int, step: int, images: int, losses: Losses) -> None:
        self.left -= 1
        if not self.left:
            raise _Killed


class _Trial:
    """Small runs of one method."""

    def __init__(self, method: Any, folder: Path) -> None:
        self.method, self.folder = method, folder
        self._straight: Run | None = None

    def run(self, out: str, *, progress: Any = None, **more: Any) -> Run:
        images = more.pop("images", 200)
        return train(
            self.method,
            **self._networks(NATIVE),
            epochs=EPOCHS,
            batch_size=more.pop("batch_size", BATCH),
            out=self.folder / out,
            set={"data.train_images": images, "data.validation": 0, "checkpoint_seconds": 0},
            progress=progress or Silent(),
            **more,
        )

    @property
    def straight(self) -> Run:
        """The run that nothing disturbs."""
        if self._straight is None:
            self._straight = self.run("straight")
        return self._straight

    def rehearse(self, cast: Mapping[str, str]) -> str | None:
        explain(self.method, **self._networks(cast))
        return None

    def resumes(self) -> str | None:
        expected = self.straight
        steps = len((expected.folder / "metrics.jsonl").read_text().splitlines()) * 200 // BATCH
        with contextlib.suppress(_Killed):
            self.run("stopped", progress=_KilledAt(steps - 2))  # within the last epoch of the last phase
        found = self.run("stopped", resume=True)
        return _difference(expected.folder, found.folder, torch.equal)

    def deploys_alone(self) -> str | None:
        for role, network in self.straight.networks.items():
            spec = network.spec
            alone = create(spec.architecture, classes=spec.classes, channels=spec.channels, image_size=spec.image_size)
            there = set(load_file(self.straight.folder / f"{role}.safetensors"))
            if foreign := sorted(there ^ set(alone.state_dict())):
                return f"{role}.safetensors and {spec.architecture} differ in {', '.join(foreign[:3])}"
        return None

    def shares(self) -> str | None:
        def go(devices: int) -> Run:
            machine = {"accelerator": "cpu", "precision": "64-true", "lr": 0.005}
            return self.run(f"on {devices}", devices=devices, images=64, batch_size=8, **machine)

        return _difference(go(1).folder, go(2).folder, lambda a, b: torch.allclose(a, b, rtol=1e-5, atol=1e-7))

    def _networks(self, cast: Mapping[str, str]) -> dict[str, Any]:
        return {role: cast.get(role, "resnet14") for role in self.method.roles}


def _difference(one: Path, other: Path, equal: Callable[[Tensor, Tensor], bool]) -> str | None:
    """Say where the weights files of two runs differ."""
    for path in sorted(one.glob("*.safetensors")):
        expected, found = load_file(path), load_file(other / path.name)
        for key, tensor in expected.items():
            if not equal(tensor, found[key]):
                gap = (tensor.double() - found[key].double()).abs().max()
                return f"{path.name}: {key} differs by up to {gap:.1g}"
    return None


def _settings_tell(method: Any) -> str | None:
    silent = [s.key for s in settings_of(type(method)) if not (s.meaning and s.source)]
    if silent:
        return f"nothing is said about {', '.join(silent)}: declare them by docendo.core.setting"
    if ":" in name_of(method) and make(name_of(method), values_of(method)) != method:
        return "made again from its settings it is another method"
    return None

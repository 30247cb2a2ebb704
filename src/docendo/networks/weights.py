"""Weights files: docendo's own `.safetensors`, which say what network they hold, and the `.pth` of older projects.

Nothing in a weights file is ever executed: `.safetensors` hold tensors and text only, and pickled files are read by
PyTorch's restricted reader, which refuses everything but tensors and plain values (and `argparse.Namespace`, where the
files of one much used project keep their options).
"""

from __future__ import annotations

import argparse
import functools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

import docendo
from docendo.errors import DocendoError
from docendo.files import write_atomically
from docendo.networks import catalog
from docendo.networks.staged import NetworkSpec, StagedNetwork

FOREIGN_SIZE = 224
"""The image size of networks for larger images, where a file does not say."""

Tensors = dict[str, Tensor]
Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class LoadedWeights:
    """A network from a file, and what the file says about it.

    Attributes:
        network: the network with its weights, on the CPU, in training mode as every new module.
        class_names: the names of its classes in the order of the logits, if known.
        mean: what was subtracted from each channel of its images, which were in [0, 1], if known.
        std: what each channel was then divided by, if known.
        role: the role it was trained in, if known.
        version: the docendo version that wrote the file, if docendo did.
        extra: whatever else was saved with it.
    """

    network: StagedNetwork
    class_names: tuple[str, ...] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    role: str | None = None
    version: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


def save(
    network: StagedNetwork,
    path: str | Path,
    *,
    class_names: Sequence[str] | None,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    role: str | None,
    **extra: Any,
) -> None:
    """Write a network with everything needed to use it, as one `.safetensors` file, replacing an older one in one go.

    Args:
        network: what to save.
        path: where; its folder must exist.
        class_names: names of the classes in the order of the logits, K of them.
        mean: subtracted from each channel of the images, which are in [0, 1].
        std: what each channel is then divided by.
        role: the role in which it was trained.
        extra: plain values (text, numbers, lists, dictionaries) to keep beside it.

    Raises:
        DocendoError: if the numbers of class names, means or deviations do not fit the network, or the disk is full.
    """
    spec = network.spec
    wanted = {"class_names": spec.classes, "mean": spec.channels, "std": spec.channels}
    given = {"class_names": class_names, "mean": mean, "std": std}
    for what, values in given.items():
        if values is not None and len(values) != wanted[what]:
            raise DocendoError(f"{path}: {spec.architecture} needs {wanted[what]} values of {what}, got {len(values)}")
    about = {
        **asdict(spec),
        **{what: list(values) if values is not None else None for what, values in given.items()},
        "role": role,
        "version": docendo.__version__,
        "extra": extra,
    }
    # Cloned, as the format refuses tensors that share memory, and laid out plainly if channels-last.
    tensors = {key: value.detach().cpu().contiguous().clone() for key, value in network.state_dict().items()}
    write_atomically(Path(path), safetensors.torch.save(tensors, {"docendo": json.dumps(about, ensure_ascii=False)}))


def load(path: str | Path) -> StagedNetwork:
    """Make the network that a weights file holds.

    Args:
        path: a `.safetensors` file of docendo, or a `.pth`, `.pt` or `.safetensors` file with the tensors of a network
            in the catalog: a state dict, or a dictionary with one under "model" or "state_dict", with or without
            `module.` before its keys.

    Raises:
        DocendoError: if there is no such file, it is damaged, holds more than weights, or fits no known network.
    """
    return read(path).network


def read(path: str | Path) -> LoadedWeights:
    """Make the network that a weights file holds, and give what the file says about it: see `load`."""
    path = Path(path)
    tensors, about = _contents(path)
    network = catalog.build(_spec_of(path, tensors, about))
    _fill_strictly(network, tensors, path)
    if about is None:
        return LoadedWeights(network)
    return LoadedWeights(
        network,
        **{what: tuple(about[what]) if about.get(what) else None for what in ("class_names", "mean", "std")},
        role=about.get("role"),
        version=about.get("version"),
        extra=about.get("extra", {}),
    )


def fill(network: StagedNetwork, path: Path) -> None:
    """Put the weights of a file into a network of the same architecture, classes and channels.

    Raises:
        DocendoError: as `load`, and if the file holds another network; says which.
    """
    tensors, about = _contents(path)
    asked, held = network.spec, _find(tensors) if about is None else _spec_of(path, tensors, about)
    if held is not None and _title(held) != _title(asked):
        raise DocendoError(
            f"{path} holds {_title(held)}, but {_title(asked)} was asked for: name the network of the file, "
            "or give the file alone"
        )
    _fill_strictly(network, tensors, path)


def _contents(path: Path) -> tuple[Tensors, dict[str, Any] | None]:
    """Read the tensors of a file and, if docendo wrote it, what it says about them."""
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except OSError as error:
        raise DocendoError(f"cannot read the weights file {path}: {error.strerror or error}") from error
    # The length that begins a .safetensors file may look like a pickle's first byte.
    if start[8:] != b"{" and (start[:2] == b"PK" or start[:1] == b"\x80"):
        return _state_dict(path, _unpickled(path)), None
    if start[8:] != b"{":
        raise DocendoError(
            f"{path} is not a weights file (neither .safetensors nor what torch.save writes; it begins with "
            f"{bytes(start)!r}): give a file that docendo or torch.save wrote"
        )
    try:
        with safetensors.safe_open(path, framework="pt") as opened:
            about = json.loads((opened.metadata() or {}).get("docendo", "null"))
            return {key: opened.get_tensor(key) for key in opened.keys()}, about  # noqa: SIM118
    except (safetensors.SafetensorError, ValueError) as error:
        raise _damaged(path, error) from error


def _unpickled(path: Path) -> Any:
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    # A damaged pickle can fail in any way at all.
    except Exception as error:
        if found := re.search(r"GLOBAL (\S+)", str(error)):
            raise DocendoError(
                f"{path} holds more than weights ({found[1]}), which could run code, so it was refused and nothing "
                "in it was run: save only the state dict, torch.save(network.state_dict(), ...), where it came from"
            ) from error
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> DocendoError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return DocendoError(
        f"{path} is damaged or was not written to its end ({path.stat().st_size} bytes; {reason}): "
        "copy or download it again, or write it again"
    )


def _state_dict(path: Path, content: Any) -> Tensors:
    if isinstance(content, dict):
        for key in ("model", "state_dict"):
            if isinstance(content.get(key), dict):
                content = content[key]
                break
        if content and all(isinstance(value, Tensor) for value in content.values()):
            return {str(key).removeprefix("module."): value for key, value in content.items()}
    keys = ", ".join(map(str, list(content)[:5])) if isinstance(content, dict) else type(content).__name__
    raise DocendoError(
        f'{path} has no state dict: looked for named tensors, at the top or under "model" or "state_dict"; found {keys}'
    )


def _spec_of(path: Path, tensors: Tensors, about: dict[str, Any] | None) -> NetworkSpec:
    if about is None:
        return _recognised(path, tensors)
    try:
        spec = NetworkSpec(about["architecture"], about["classes"], about["channels"], about["image_size"])
    except (KeyError, TypeError) as error:
        raise _damaged(path, error) from error
    try:
        catalog.canonical(spec.architecture)
    except DocendoError as error:
        raise DocendoError(
            f"{path}: {error}; make a network of your own known by docendo.networks.register before reading its weights"
        ) from error
    return spec


def _recognised(path: Path, tensors: Tensors) -> NetworkSpec:
    spec = _find(tensors)
    if spec is not None:
        return spec
    found = _shapes(tensors)

    def distance(name: str) -> int:
        expected = _usual_shapes(name, catalog.factory_of(name))
        return len(expected.keys() ^ found.keys()) + len(expected.items() ^ found.items())

    near = min(catalog.names(), key=distance)
    but = _difference(_shapes_of(_fitted(near, tensors)), found)
    raise DocendoError(
        f"{path}: no network in the catalog has exactly its {len(tensors)} tensors; nearest is {near}, but {but}"
    )


def _find(tensors: Tensors) -> NetworkSpec | None:
    """Find the network in the catalog that has exactly these tensors."""
    for name in catalog.names():
        if _usual_shapes(name, catalog.factory_of(name)).keys() == tensors.keys():
            spec = _fitted(name, tensors)
            if _shapes_of(spec) == _shapes(tensors):
                return spec
    return None


def _fitted(name: str, tensors: Tensors) -> NetworkSpec:
    """Give the spec of a network with the channels and classes that its first and last layers have here."""
    expected = _usual_shapes(name, catalog.factory_of(name))
    first = next(tensors.get(key) for key, shape in expected.items() if len(shape) == 4)
    last = next(tensors.get(key) for key, shape in reversed(expected.items()) if len(shape) == 2)
    channels = first.shape[1] if first is not None and first.dim() == 4 else 3
    classes = last.shape[0] if last is not None and last.dim() == 2 else 1
    return NetworkSpec(name, classes, channels, FOREIGN_SIZE if catalog.is_foreign(name) else 32)


@functools.cache
def _usual_shapes(name: str, factory: catalog.Factory) -> Shapes:
    # By factory too, as a registered network may be replaced.
    with torch.device("meta"), _Undrawn():
        return _shapes(factory(NetworkSpec(name, classes=1)).state_dict())


def _shapes_of(spec: NetworkSpec) -> Shapes:
    with torch.device("meta"), _Undrawn():
        return _shapes(catalog.factory_of(spec.architecture)(spec).state_dict())


class _Undrawn(TorchFunctionMode):
    """Draws no first weights: on the meta device there are none, and to pretend takes longer than all the rest."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        return kwargs["tensor"] if func is nn.init.normal_ else func(*args, **kwargs)


def _fill_strictly(network: StagedNetwork, tensors: Tensors, path: Path) -> None:
    if difference := _difference(_shapes(network.state_dict()), _shapes(tensors)):
        raise DocendoError(f"{path} does not fit {_title(network.spec)}: {difference}")
    network.load_state_dict(tensors, strict=True)


def _shapes(tensors: Mapping[str, Tensor]) -> Shapes:
    return {key: tuple(value.shape) for key, value in tensors.items()}


def _difference(expected: Shapes, found: Shapes) -> str:
    """Say in what two sets of tensors differ, naming a few; empty if they do not."""
    parts = []
    for text, keys in (("missing", expected.keys() - found.keys()), ("left over", found.keys() - expected.keys())):
        if keys:
            more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
            parts.append(f"{text} {', '.join(sorted(keys)[:3])}{more}")
    for key in sorted(expected.keys() & found.keys()):
        if expected[key] != found[key]:
            parts.append(f"{key} has shape {found[key]} instead of {expected[key]}")
            break
    return "; ".join(parts)


def _title(spec: NetworkSpec) -> str:
    colours = {1: "grey", 3: "RGB"}.get(spec.channels, f"{spec.channels}-channel")
    return f"{spec.architecture} for {spec.classes} classes of {colours} images"

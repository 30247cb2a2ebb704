"""Measure a finished run beyond its accuracy, for its report: `measures.json`."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy
import timm
import torch
import torchvision

from docendo import __version__
from docendo.data import DataSet, DataSettings, Expectation, Split, load
from docendo.engine.networks import lay_out
from docendo.errors import DocendoError
from docendo.files import read_results, write_atomically
from docendo.metrics import profile, stage_similarity
from docendo.networks import StagedNetwork
from docendo.networks.weights import read
from docendo.recipes.apply import device_of, weights_of
from docendo.recipes.pictures import pictures
from docendo.recipes.settings import data_of

ALIGNED = 2000
"""How many test images are enough to compare stages by."""

FILE = "measures.json"

_TEACHERS = ("teacher", "expert", "scratch", "peer")


class Placed(NamedTuple):
    """A network where it computes, and the test images as it expects them."""

    network: StagedNetwork
    test: Split


def measure(
    folder: str | Path,
    *,
    robustness: bool = False,
    latency: bool = False,
    device: str | None = None,
    images: DataSet | None = None,
) -> dict[str, Any]:
    """Measure the networks of a finished run on the test images, and keep that beside them in `measures.json`.

    Nothing may be chosen by these figures: they are of the images that a run reports.

    Args:
        folder: the run folder, with its weights.
        robustness: whether to measure on spoiled images too, which takes 50 times as long as all else.
        latency: whether to time single images on this device, as busy as it is.
        device: where to compute; by default a GPU if there is one.
        images: the run's data set, where it is loaded already.

    Returns:
        What the file holds:

        - "networks": by role, what `docendo.metrics.profile` gives; beside the network that taught, where its weights
          are there: a teacher, an expert, the generation before, or else one that learned at the same time. Stages are
          compared on at most 2000 images, spread evenly over the split;
        - "beside": the role of that one, or None;
        - "classes": their names; "data": the data set's;
        - "pictures": up to 24 images that both see differently, see `docendo.recipes.pictures`;
        - "environment": versions, processor, device, threads of the CPU; "command": what trained the run.

    Raises:
        DocendoError: a run that has not finished, weights or images that are not there, a logit that is not finite.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DocendoError(f"{folder} is no folder: give that of a finished run")
    weights_of(folder)  # says what is wrong with a folder that holds no finished run
    results = read_results(folder)
    placed_on = device_of(device)
    images = (images or load(data_of(folder / "config.yaml"))).to(placed_on)
    networks = {role: _placed(path, images, placed_on) for role, path in files_of(folder, results).items()}
    beside = beside_of(networks, results["deployed"])
    found = {
        "data": images.name,
        "classes": list(images.classes),
        "beside": beside,
        "networks": {
            role: _profile(one, None if role == beside else networks.get(beside or ""), images, robustness, latency)
            for role, one in networks.items()
        },
        "pictures": pictures(networks, results["deployed"], beside, images),
        "environment": environment(placed_on),
        "command": results["command"],
    }
    write_atomically(folder / FILE, (json.dumps(found, allow_nan=False, ensure_ascii=False) + "\n").encode())
    return found


def measure_all(folders: Iterable[Path], **options: Any) -> Iterator[tuple[Path, DocendoError | None]]:
    """Measure one run after the other; images that runs share are loaded once.

    Args:
        folders: the run folders.
        options: as `measure` takes them.

    Yields:
        Each folder, and what was wrong with it, if anything.
    """
    loaded: dict[DataSettings, DataSet] = {}
    for folder in folders:
        try:
            settings = data_of(folder / "config.yaml")
            if settings not in loaded:
                loaded = {settings: load(settings)}
            measure(folder, images=loaded[settings], **options)
            yield folder, None
        except DocendoError as error:
            yield folder, error


def files_of(folder: Path, results: Mapping[str, Any]) -> dict[str, Path]:
    """Give the weights files of a run that are there, by role, the deployed network first.

    Raises:
        DocendoError: if that of the deployed network is not there.
    """
    files = {role: folder / about["weights"] for role, about in results["networks"].items()}
    deployed = files[results["deployed"]]
    if not deployed.is_file():
        raise DocendoError(f"{folder} cannot be measured without {deployed.name}: run `{results['command']}` again")
    return {role: path for role, path in files.items() if path.is_file()}


def beside_of(networks: Mapping[str, Any], deployed: str) -> str | None:
    """Give the role that taught the deployed network, of those whose weights are there.

    >>> beside_of({"student": 0, "generation0": 0, "generation1": 0}, "student")
    'generation1'
    """
    generations = sorted((role for role in networks if role.startswith("generation")), key=lambda r: int(r[10:]))
    found = [role for role in (*_TEACHERS[:2], *generations[-1:], *_TEACHERS[2:]) if role in networks]
    return next((role for role in found if role != deployed), None)


def environment(device: torch.device) -> dict[str, str]:
    """Say what computes here: versions, processor, device and threads."""
    cuda = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    return {
        "docendo": __version__,
        "Python": platform.python_version(),
        "PyTorch": str(torch.__version__),
        "torchvision": str(torchvision.__version__),
        "timm": str(timm.__version__),
        "NumPy": numpy.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "device": cuda or device.type,
        "threads": str(torch.get_num_threads()),
    }


def _processor() -> str:
    """Name the processor, as Linux knows it, or else as Python does."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def _placed(path: Path, images: DataSet, device: torch.device) -> Placed:
    loaded = read(path)
    network = loaded.network.to(device).eval()
    lay_out(network, torch.channels_last)
    size = network.spec.image_size
    return Placed(network, images.test.seen_by(Expectation(loaded.mean or images.mean, loaded.std or images.std, size)))


def _profile(one: Placed, other: Placed | None, images: DataSet, robustness: bool, latency: bool) -> dict[str, Any]:
    found = profile(
        one.network,
        one.test,
        len(images.classes),
        teacher=other and other.network,
        teacher_split=other and other.test,
        corruption=robustness,
        latency_images=1 if latency else None,
    )
    if other is not None and len(one.test) >= 4:
        similarity = stage_similarity(one.network, other.network, _some(one.test), _some(other.test))
        found["teacher"]["similarity"] = [[None if v != v else v for v in row] for row in similarity.tolist()]
    return found


def _some(split: Split) -> Split:
    """Give at most `ALIGNED` of the images, from all over the split, as folders hold one class after the other."""
    chosen = torch.linspace(0, len(split) - 1, min(ALIGNED, len(split))).round().long()
    return replace(split, labels=split.labels[chosen], rows=split.rows[chosen])

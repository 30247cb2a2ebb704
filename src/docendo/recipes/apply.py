"""Trained networks at work: their accuracy on a data set, and what they see in single images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

import docendo.data
from docendo import metrics
from docendo.data import Adaptation, DataSet, DataSettings, Expectation, image_at, normalise, prepare
from docendo.data.images import stored_side
from docendo.engine.networks import lay_out
from docendo.errors import DocendoError, nearest
from docendo.files import read_results
from docendo.networks import StagedNetwork
from docendo.networks.weights import LoadedWeights, read
from docendo.recipes.settings import data_of


@dataclass(frozen=True)
class Prediction:
    """What a network sees in one image.

    Attributes:
        image: where the image came from.
        classes: (name, probability) of the most likely classes, in descending order.
    """

    image: str
    classes: tuple[tuple[str, float], ...]


def weights_of(path: str | Path, role: str | None = None) -> Path:
    """Give the weights file of a run folder (its deployed network, or another role's), or the file itself."""
    path = Path(path)
    if not path.is_dir():
        if role is not None:
            raise DocendoError(f"{path} is one network, so --role {role} does not apply: give a run folder with it")
        return path
    results = path / "results.json"
    if not results.is_file():
        unfinished = (path / "config.yaml").is_file()
        raise DocendoError(
            f"{path} is a run that has not finished: go on with it by --resume first"
            if unfinished
            else f"{path} is neither a weights file nor a run folder (it has no results.json)"
        )
    found = read_results(path)
    role = role or found["deployed"]
    if role not in found["networks"]:
        raise DocendoError(f'{path} has no network in the role "{role}"; {nearest(role, found["networks"])}')
    return path / str(found["networks"][role]["weights"])


def device_of(name: str | torch.device | None) -> torch.device:
    """Give the device of a name, or a GPU if there is one and none is named.

    Raises:
        DocendoError: if it is no device of this machine.
    """
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(0, device=device)
    except Exception as error:  # each backend fails in its own way
        reason = str(error).splitlines()[0]
        raise DocendoError(f'this machine cannot compute on "{name}" ({reason}): try cpu') from error
    return device


def evaluate(
    *sources: str | Path,
    data: str | Path | None = None,
    root: str | Path | None = None,
    split: Literal["test", "val", "train"] = "test",
    role: str | None = None,
    device: str | torch.device | None = None,
) -> dict[str, Any]:
    """Measure a network on a split of a data set, with the size and normalisation that it was trained with.

    Several networks are measured together, as an ensemble: the mean of their softmax outputs decides.

    Args:
        sources: a weights file or a run folder, or several.
        data: a data set's name or path; by default the run's, where a run folder is given first.
        root: where the files of named data sets are.
        split: which images.
        role: which network of a run folder; by default the deployed one.
        device: where to compute; by default a GPU if there is one.

    Returns:
        "weights" (a list, of an ensemble), "data", "split", "images", "top1", "top5"; accuracies as fractions.

    Raises:
        DocendoError: if a network does not fit the data set, or something cannot be read.
    """
    if not sources:
        raise DocendoError("evaluate needs a weights file or a run folder")
    paths = [weights_of(source, role) for source in sources]
    read_members = [read(path) for path in paths]
    settings = _data_settings(Path(sources[0]), read_members[0], data, root)
    if all(loaded.mean is not None and loaded.std is not None for loaded in read_members):
        # Nothing is computed over the training images, so none of them need be decoded.
        settings = settings.model_copy(update={"memory": "stream"})
    device = device_of(device)
    images = docendo.data.load(settings).to(device)
    chosen = {"test": images.test, "val": images.val, "train": images.train}[split]
    if chosen is None:
        raise DocendoError(f"{images.name} has no validation images here (validation is 0): choose --split test")
    members = []
    for path, loaded in zip(paths, read_members, strict=True):
        spec = loaded.network.spec
        if spec.classes != len(images.classes) or spec.channels != images.channels:
            raise DocendoError(
                f"{path} ({spec.architecture}) tells {spec.classes} classes of {spec.channels}-channel images apart, "
                f"but {images.name} has {len(images.classes)} of {images.channels}: "
                "name the data set that it was trained on"
            )
        known = loaded.mean is not None and loaded.std is not None
        view = chosen.seen_by(_expectation(loaded, images)) if known else chosen
        members.append((_placed(loaded, device), view))
    classes = len(images.classes)
    accuracy = metrics.ensemble(members, classes) if len(members) > 1 else metrics.evaluate(*members[0], classes)
    return {
        "weights": str(paths[0]) if len(paths) == 1 else [str(path) for path in paths],
        "data": images.name,
        "split": split,
        "images": accuracy.images,
        "top1": accuracy.top1,
        "top5": accuracy.top5,
    }


def probe(
    source: str | Path,
    *,
    data: str | Path | None = None,
    root: str | Path | None = None,
    role: str | None = None,
    device: str | torch.device | None = None,
) -> dict[str, Any]:
    """Measure what a linear classifier makes of a network's frozen pooled features, here or on another data set.

    The data set may have other classes than the network's; its images are brought to the network's size and
    normalisation, and grey ones to RGB. See `docendo.metrics.linear_probe`.

    Args:
        source: a weights file or a run folder.
        data: a data set's name or path; by default the run's, where a run folder is given.
        root: where the files of named data sets are.
        role: which network of a run folder; by default the deployed one.
        device: where to compute the features; by default a GPU if there is one.

    Returns:
        "weights", "data", "features" (how many), "train_images", "images" (of the test split), "top1", "top5" on them,
        "val_top1", and "C", the strength that the validation images chose.

    Raises:
        DocendoError: if the network reads grey images and the data set has RGB ones, if there are no validation
            images, or something cannot be read.
    """
    path = weights_of(source, role)
    loaded = read(path)
    spec = loaded.network.spec
    if data is None:
        settings = _data_settings(Path(source), loaded, None, root)
    else:  # another set, and so nothing of how the training images were chosen
        settings = DataSettings(name=str(data), image_size=spec.image_size, root=None if root is None else str(root))
    device = device_of(device)
    images = docendo.data.load(settings).to(device)
    if images.val is None:
        raise DocendoError(
            f"{images.name} has no validation images here (validation is 0), by which a probe chooses its penalty: "
            f"name the data, as by --data {images.name}, which keeps some"
        )
    if spec.channels == 1 and images.channels == 3:
        raise DocendoError(
            f"{path} ({spec.architecture}) reads grey images, but {images.name} has RGB ones: "
            "name a grey data set, or probe a network for RGB images"
        )
    network = _placed(loaded, device).eval()
    adaptation = Adaptation(images.expectation, _expectation(loaded, images))

    def features(batch: Tensor) -> Tensor:
        pooled: Tensor = network(adaptation(batch).expand(-1, spec.channels, -1, -1)).pooled
        return pooled

    found = metrics.linear_probe(features, images.train, images.val, images.test)
    return {
        "weights": str(path),
        "data": images.name,
        "features": found.features,
        "train_images": len(images.train),
        "images": found.accuracy.images,
        "top1": found.accuracy.top1,
        "top5": found.accuracy.top5,
        "val_top1": found.val_top1,
        "C": found.strength,
    }


def predict(
    source: str | Path,
    images: str | Path | Sequence[str | Path],
    *,
    top: int = 5,
    role: str | None = None,
    device: str | None = None,
) -> list[Prediction]:
    """Name what is in images.

    Args:
        source: a weights file or a run folder.
        images: paths of images of any size, or one; of an image inside a Parquet file, "FILE.parquet#ROW".
        top: how many classes to give for each.
        role: which network of a run folder; by default the deployed one.
        device: where to compute; by default a GPU if there is one.

    Raises:
        DocendoError: if something cannot be read.
    """
    if top < 1:
        raise DocendoError(f"top is {top}: ask for at least 1 class")
    path = weights_of(source, role)
    loaded = read(path)
    spec = loaded.network.spec
    mean, std = loaded.mean, loaded.std
    if mean is None or std is None:
        raise DocendoError(f"{path} does not say how its images are normalised: train or save it with docendo")
    ratio = float(loaded.extra.get("crop_ratio", 1.0))
    names = loaded.class_names or tuple(str(i) for i in range(spec.classes))
    where = device_of(device)
    network = _placed(loaded, where).eval()
    predictions = []
    for image in [images] if isinstance(images, str | Path) else images:
        decoded = image_at(image, stored_side(spec.image_size, ratio))
        pixels = prepare(decoded, spec.channels, spec.image_size, ratio)
        with torch.no_grad():
            logits = network(normalise(pixels[None].to(where), mean, std)).logits
        best = logits[0].softmax(dim=0).topk(min(top, spec.classes))
        classes = tuple((names[i], p) for p, i in zip(best.values.tolist(), best.indices.tolist(), strict=True))
        predictions.append(Prediction(str(image), classes))
    return predictions


def _expectation(loaded: LoadedWeights, images: DataSet) -> Expectation:
    """Give what images a network expects: of its own size, normalised as its file says, else as the data set's are."""
    return Expectation(loaded.mean or images.mean, loaded.std or images.std, loaded.network.spec.image_size)


def _placed(loaded: LoadedWeights, device: torch.device) -> StagedNetwork:
    network = loaded.network.to(device)
    lay_out(network, torch.channels_last)
    return network


def _data_settings(
    source: Path, loaded: LoadedWeights, data: str | Path | None, root: str | Path | None
) -> DataSettings:
    """Take the data of the run folder, or what the weights file knows of its data with the name that is given."""
    config = source / "config.yaml"
    if data is None:
        if not config.is_file():
            raise DocendoError(f"{source} does not say which images to evaluate on: add --data NAME or --data PATH")
        known_data = data_of(config)
        return known_data if root is None else known_data.model_copy(update={"root": str(root)})
    # Which of its own images a run used says nothing of others.
    of_the_run = ("train_images", "skip_corrupt")
    known = {key: value for key, value in loaded.extra.get("data", {}).items() if key not in of_the_run}
    given = {
        "name": str(data),
        "image_size": loaded.network.spec.image_size,
        "root": None if root is None else str(root),
    }
    return DataSettings(**{**known, **given})

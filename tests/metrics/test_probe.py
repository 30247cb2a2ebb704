"""Linear probes: what a linear classifier makes of frozen features, also of other data."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import docendo
from docendo.core import Batch
from docendo.data import DataSettings, Expectation, load
from docendo.errors import DocendoError
from docendo.metrics import Accuracy, Probe, linear_probe
from docendo.metrics.probe import STRENGTHS
from docendo.networks import create, read, save


class Points:
    """Points in the plane, as images of two channels."""

    def __init__(self, points: Tensor, labels: Tensor) -> None:
        self.points, self.labels = points, labels

    def batches(self, batch_size: int) -> Iterator[Batch]:
        for x, y in zip(self.points.split(40), self.labels.split(40), strict=True):
            yield Batch.of(x[:, :, None, None], y)


def points(seed: int, count: int = 150, noise: float = 0.1) -> Points:
    """Give three clusters, far from the origin and of very unequal scale in the two directions."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    centres = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    spread = centres[labels] + noise * torch.randn(count, 2, generator=generator)
    return Points(100 + spread * torch.tensor([1e3, 1e-3]), labels)


def pooled(images: Tensor) -> Tensor:
    return images.mean(dim=(2, 3))


def test_separable_features_are_told_apart_whatever_their_scale() -> None:
    found = linear_probe(pooled, points(0), points(1), points(2))
    assert found.accuracy.top1 == 1
    assert found.accuracy.top5 == 1
    assert (found.accuracy.images, found.features) == (150, 2)


def test_the_validation_images_choose_the_penalty() -> None:
    few, val, test = points(0, 9, 0.8), points(1, 600, 0.8), points(2, 600, 0.8)
    found = linear_probe(pooled, few, val, test)
    assert found.strength in STRENGTHS
    assert found == linear_probe(pooled, few, val, test)  # nothing is random
    swapped = linear_probe(pooled, few, test, val)
    assert swapped.val_top1 == pytest.approx(found.accuracy.top1, abs=0.1)


def test_a_class_that_was_never_seen_is_never_right() -> None:
    test = Points(points(2).points, torch.full((150,), 7))
    assert linear_probe(pooled, points(0), points(1), test).accuracy[:2] == (0, 0)


def test_a_probe_of_a_run_and_the_network_stays_as_it_is(small_run: Callable[..., docendo.Run]) -> None:
    run = small_run("plain", student="resnet8")
    path = run.folder / "student.safetensors"
    before = path.read_bytes()
    found = docendo.probe(run.folder)
    assert found["top1"] > 0.7
    assert found["top1"] > run.results["networks"]["student"]["test_top1"]  # which has hardly been trained
    assert (found["data"], found["features"], found["images"]) == ("digits", 64, 359)
    assert found["train_images"] == 200  # the run's own
    assert docendo.probe(path, data="digits")["train_images"] == len(load(DataSettings()).train)
    assert path.read_bytes() == before


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    """Three classes of RGB images of 12 pixels that differ in their colour."""
    random = np.random.default_rng(0)
    for part, count in (("train", 30), ("test", 10)):
        for channel, name in enumerate(("red", "green", "blue")):
            folder = tmp_path / "colours" / part / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = random.integers(0, 120, (12, 12, 3), dtype=np.uint8)
                pixels[:, :, channel] += 100
                Image.fromarray(pixels).save(folder / f"{i}.png")
    return tmp_path / "colours"


@pytest.fixture
def rgb(tmp_path: Path) -> Path:
    """Weights of a network that reads RGB images of 16 pixels and tells 7 classes apart."""
    torch.manual_seed(0)
    network = create("resnet8", classes=7, channels=3, image_size=16)
    path = tmp_path / "rgb.safetensors"
    save(network, path, class_names=None, mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.3), role=None)
    return path


def test_other_classes_and_another_size_are_no_hindrance(rgb: Path, colours: Path) -> None:
    found = docendo.probe(rgb, data=colours)
    assert found["top1"] > 0.8
    assert (found["images"], found["train_images"]) == (30, 81)
    with pytest.raises(DocendoError, match="tells 7 classes of 3-channel images apart, but colours has 3 of 3"):
        docendo.evaluate(rgb, data=colours)


def test_the_network_sees_images_as_it_was_trained(rgb: Path, colours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def probing(*given: Any) -> Probe:
        asked.extend(given)
        return Probe(Accuracy(0, 0, 0), 1, 0, 64)

    monkeypatch.setattr("docendo.metrics.linear_probe", probing)
    docendo.probe(rgb, data=colours)
    features, _, _, test = asked
    loaded = read(rgb)
    batch = next(test.batches(30))
    theirs = next(test.seen_by(Expectation((0.5, 0.4, 0.3), (0.2, 0.25, 0.3), 16)).batches(30))
    assert batch.images.shape == theirs.images.shape == (30, 3, 16, 16)
    with torch.no_grad():
        expected = loaded.network.eval()(theirs.images).pooled
    torch.testing.assert_close(features(batch.images), expected, rtol=1e-4, atol=1e-5)


def test_grey_images_become_rgb(rgb: Path) -> None:
    found = docendo.probe(rgb, data="digits")
    assert found["top1"] > 0.5
    assert found["images"] == 359


def test_rgb_images_do_not_become_grey(colours: Path, tmp_path: Path) -> None:
    network = create("resnet8", classes=10, channels=1, image_size=12)
    save(network, tmp_path / "grey.safetensors", class_names=None, mean=(0.3,), std=(0.35,), role=None)
    with pytest.raises(DocendoError, match=r"reads grey images, but colours has RGB ones: name a grey data set, or"):
        docendo.probe(tmp_path / "grey.safetensors", data=colours)


def test_a_probe_needs_validation_images_and_data(small_run: Callable[..., docendo.Run], rgb: Path) -> None:
    run = small_run("plain", epochs=1, set={"data.validation": 0})
    with pytest.raises(DocendoError, match=r"no validation images here .* by --data digits, which keeps some$"):
        docendo.probe(run.folder)
    assert docendo.probe(run.folder, data="digits")["images"] == 359
    with pytest.raises(DocendoError, match="does not say which images to evaluate on: add --data"):
        docendo.probe(rgb)

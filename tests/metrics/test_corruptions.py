"""Images that are spoiled on the fly, and how often networks are right about them."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from docendo.data import DataSettings, Expectation, Split, load
from docendo.errors import DocendoError
from docendo.metrics import CORRUPTIONS, corrupt, corrupted_accuracy, evaluate
from docendo.metrics.corruptions import SEVERITIES
from docendo.metrics.robustness import _pixels, _seen
from docendo.networks import create

RANDOM = {"gaussian_noise", "shot_noise", "impulse_noise", "fog"}


def pictures(channels: int = 3, side: int = 32) -> Tensor:
    """Give six pictures with smooth parts and edges, from black to white."""
    y, x = torch.meshgrid(torch.linspace(0, 6, side), torch.linspace(0, 6, side), indexing="ij")
    waves = [torch.sin(x + i) * torch.cos((1 + i / 4) * y) + (x > 3) for i in range(6 * channels)]
    pixels = torch.stack(waves).reshape(6, channels, side, side)
    return ((pixels + 1) / 3 * 255).round().to(torch.uint8)


def changed(images: Tensor, corruption: str, severity: int) -> float:
    spoiled = corrupt(images, corruption, severity, torch.arange(len(images)))
    return (spoiled.float() - images.float()).abs().mean().item()


def at_once(images: Tensor, corruption: str, severity: int) -> Tensor:
    return corrupt(images, corruption, severity, torch.arange(len(images)))


every = pytest.mark.parametrize("corruption", CORRUPTIONS)


@every
@pytest.mark.parametrize(("channels", "side"), [(1, 8), (3, 32), (3, 64)])
def test_each_spoils_and_more_with_each_severity(corruption: str, channels: int, side: int) -> None:
    images = pictures(channels, side)
    amounts = [changed(images, corruption, severity) for severity in SEVERITIES]
    assert amounts[0] > 0
    if side == 32:  # for which the strengths are
        assert amounts == sorted(set(amounts))
    assert amounts[4] > amounts[0]
    spoiled = at_once(images, corruption, 5)
    assert (spoiled.shape, spoiled.dtype) == (images.shape, torch.uint8)


@every
def test_an_image_is_spoiled_alike_alone_and_in_any_place(corruption: str) -> None:
    images, order = pictures(), torch.tensor([4, 1])
    together = at_once(images, corruption, 3)
    torch.testing.assert_close(corrupt(images[order], corruption, 3, order), together[order], atol=1, rtol=0)


@every
def test_chance_depends_on_index_and_severity(corruption: str) -> None:
    image = pictures()[:1].expand(2, -1, -1, -1)
    first, second = corrupt(image, corruption, 3, torch.tensor([7, 8]))
    assert torch.equal(first, second) == (corruption not in RANDOM)


def test_noise_has_the_moments_it_should_have() -> None:
    grey = torch.full((40, 3, 32, 32), 100, dtype=torch.uint8)
    for severity, deviation in enumerate((0.04, 0.06, 0.08, 0.09, 0.10), start=1):
        spoiled = at_once(grey, "gaussian_noise", severity).double() / 255
        assert spoiled.mean() == pytest.approx(100 / 255, abs=1e-3)
        assert spoiled.std() == pytest.approx(deviation, rel=0.02)
    for severity, photons in enumerate((500, 250, 100, 75, 50), start=1):
        spoiled = at_once(grey, "shot_noise", severity).double() / 255
        assert spoiled.mean() == pytest.approx(100 / 255, abs=1e-3)
        assert spoiled.std() == pytest.approx((100 / 255 / photons) ** 0.5, rel=0.02)
    for severity, share in enumerate((0.01, 0.02, 0.03, 0.05, 0.07), start=1):
        spoiled = at_once(grey, "impulse_noise", severity)
        assert (spoiled != 100).double().mean() == pytest.approx(share, rel=0.05)
        assert (spoiled == 255).double().mean() == pytest.approx(share / 2, rel=0.1)
        assert (spoiled == 0).double().mean() == pytest.approx(share / 2, rel=0.1)


def test_fog_mixes_with_white_unevenly() -> None:
    black = torch.zeros(60, 1, 32, 32, dtype=torch.uint8)
    spoiled = at_once(black, "fog", 3).double() / 255
    assert spoiled.mean() == pytest.approx(0.4, abs=0.02)
    assert spoiled.mean((1, 2, 3)).std() > 0.01
    assert (spoiled[..., 1:] - spoiled[..., :-1]).abs().max() < 0.1  # it is smooth
    assert (at_once(255 - black, "fog", 3) == 255).all()


@pytest.mark.parametrize("corruption", ["gaussian_blur", "defocus_blur"])
def test_blur_spreads_a_point_alike_in_all_directions(corruption: str) -> None:
    point = torch.zeros(1, 1, 33, 33, dtype=torch.uint8)
    point[..., 16, 16] = 255
    spoiled = at_once(point, corruption, 5)[0, 0].double()
    assert spoiled.sum() == pytest.approx(255, abs=5)
    for turned in (spoiled.T, spoiled.flip(0), spoiled.flip(1)):
        assert torch.equal(turned, spoiled)
    assert spoiled[16, 16] < 255 / 4
    even = torch.full((1, 3, 8, 8), 77, dtype=torch.uint8)
    assert torch.equal(at_once(even, corruption, 5), even)


def test_a_gaussian_blur_is_that_of_scipy() -> None:
    import scipy.ndimage

    image = pictures(1)[:1]
    for severity, deviation in enumerate((0.4, 0.6, 0.7, 0.8, 1.0), start=1):
        expected = scipy.ndimage.gaussian_filter(image[0, 0].numpy().astype(float), deviation, mode="nearest")
        found = at_once(image, "gaussian_blur", severity)[0, 0].numpy()
        assert np.abs(found - expected).max() <= 0.51


def test_brightness_raises_the_value_and_keeps_hue_and_saturation() -> None:
    import colorsys

    images = pictures()
    colours = (each.movedim(1, -1).flatten(0, 2)[::97] for each in (images, at_once(images, "brightness", 2)))
    for before, after in zip(*colours, strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*(before.double() / 255).tolist())
        expected = colorsys.hsv_to_rgb(hue, saturation, min(1, value + 0.1))
        assert (after.double() / 255).tolist() == pytest.approx(expected, abs=0.6 / 255)
    assert (at_once(torch.zeros(1, 3, 2, 2, dtype=torch.uint8), "brightness", 3) == 38).all()


def test_contrast_brings_each_channel_nearer_to_its_mean() -> None:
    images = pictures()
    spoiled = at_once(images, "contrast", 2).double()
    mean = images.double().mean((2, 3), keepdim=True)
    torch.testing.assert_close(spoiled, mean + 0.5 * (images - mean), atol=0.51, rtol=0)


def test_pixels_become_large() -> None:
    spoiled = at_once(pictures(), "pixelate", 5)[0]
    for lines in (spoiled.permute(1, 0, 2), spoiled.permute(2, 0, 1)):
        assert len({tuple(line.flatten().tolist()) for line in lines}) == 20  # int(0.65 * 32)


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_that_of_pillow(channels: int) -> None:
    images = pictures(channels)
    spoiled = at_once(images, "jpeg", 4)
    file = io.BytesIO()
    pixels = images[0].permute(1, 2, 0).numpy()
    Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(file, "JPEG", quality=50)
    expected = np.asarray(Image.open(file)).reshape(32, 32, channels)
    assert np.array_equal(spoiled[0].permute(1, 2, 0).numpy(), expected)


def test_what_is_not_known() -> None:
    images = pictures()
    with pytest.raises(DocendoError, match='there is no corruption "gausian_noise"; did you mean "gaussian_noise"'):
        at_once(images, "gausian_noise", 1)
    for severity in (0, 6):
        with pytest.raises(DocendoError, match=f"severity {severity} is not known: choose from 1, mild, to 5"):
            at_once(images, "fog", severity)


@pytest.fixture(scope="module")
def test() -> Split:
    return load(DataSettings(train_images=20)).test


def test_networks_see_the_pixels_of_the_store(test: Split) -> None:
    other = test.seen_by(Expectation((0.3,), (0.7,), 8))
    for split in (test, other):
        batch = next(split.batches(50))
        pixels = _pixels(batch.images, split)
        stored = next(split.store.images(split.rows[:50], torch.zeros(50, dtype=torch.int64), 50, 8, None))
        assert torch.equal(pixels, stored)
        assert torch.equal(_seen(pixels, split), batch.images)


def test_accuracy_is_that_of_spoiled_images(test: Split) -> None:
    torch.manual_seed(0)
    network = create("resnet8", classes=10, channels=1, image_size=8).train()
    found = corrupted_accuracy(network, test, 10, ["contrast", "jpeg"], [5, 1])
    assert network.training
    batch = next(test.batches(len(test)))
    network.eval()
    for name, (strong, mild) in found.severities.items():
        for severity, accuracy in ((5, strong), (1, mild)):
            spoiled = corrupt(_pixels(batch.images, test), name, severity, batch.index)
            with torch.no_grad():
                right = network(_seen(spoiled, test)).logits.argmax(1) == batch.labels
            assert accuracy == pytest.approx(right.double().mean().item(), abs=2 / len(test))
        assert found.corruptions[name] == pytest.approx((strong + mild) / 2)
    assert found.mean == pytest.approx(sum(found.corruptions.values()) / 2)
    with pytest.raises(DocendoError, match="needs one corruption and one severity or more, got none"):
        corrupted_accuracy(network, test, 10, [])


def test_what_spoils_nothing_changes_nothing(test: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CORRUPTIONS, "contrast", CORRUPTIONS["contrast"]._replace(strengths=(1.0,) * 5))
    network = create("resnet8", classes=10, channels=1, image_size=8)
    assert corrupted_accuracy(network, test, 10, ["contrast"], [1]).mean == evaluate(network, test, 10).top1

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from docendo.data import DataSettings, Expectation, load, normalise, renormalise

OURS = Expectation((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761), 32)
THEIRS = Expectation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 32)


def pixels(count, side):
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, 3, side, side), dtype=np.uint8))


def test_it_is_as_if_the_images_had_been_made_for_that_network():
    images = pixels(3, 32)
    ours, theirs = (normalise(images, one.mean, one.std) for one in (OURS, THEIRS))
    torch.testing.assert_close(renormalise(ours, OURS, THEIRS), theirs, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(renormalise(ours.double(), OURS, THEIRS), theirs.double(), atol=1e-6, rtol=1e-5)
    assert renormalise(ours.bfloat16(), OURS, THEIRS).dtype == torch.bfloat16


def test_the_same_expectation_gives_the_same_tensor():
    ours = normalise(pixels(2, 32), OURS.mean, OURS.std)
    assert renormalise(ours, OURS, Expectation(*OURS)) is ours


@pytest.mark.parametrize("size", [14, 48, 224])
def test_sizes_are_scaled_as_by_pillow(size):
    ramp = torch.linspace(0, 255, 32)[None, None, :] * torch.linspace(0.2, 1, 32)[None, :, None]
    image = torch.cat([ramp, ramp.flip(1), ramp.flip(2)]).round().to(torch.uint8)
    theirs = THEIRS._replace(image_size=size)
    got = renormalise(normalise(image[None], OURS.mean, OURS.std), OURS, theirs)
    assert got.shape == (1, 3, size, size)
    scaled = Image.fromarray(image.permute(1, 2, 0).numpy()).resize((size, size), Image.Resampling.BILINEAR)
    expected = transforms.Normalize(theirs.mean, theirs.std)(transforms.ToTensor()(scaled))
    assert float((got[0] - expected).abs().max()) < 1.01 / 255 / min(theirs.std)


def test_grey_images_keep_their_channel():
    ours, theirs = Expectation((0.3,), (0.2,), 8), Expectation((0.5,), (0.5,), 28)
    images = renormalise(torch.zeros(2, 1, 8, 8), ours, theirs)
    torch.testing.assert_close(images, torch.full((2, 1, 28, 28), (0.3 - 0.5) / 0.5))


def test_a_split_is_given_as_a_network_expects_it():
    data = load(DataSettings())
    assert data.expectation == Expectation(data.mean, data.std, 8)
    assert data.test.seen_by(None) is data.test
    theirs = Expectation((0.5,), (0.25,), 12)
    plain, seen = next(data.test.batches(9)), next(data.test.seen_by(theirs).batches(9))
    torch.testing.assert_close(seen.images, renormalise(plain.images, data.expectation, theirs), atol=1e-5, rtol=1e-5)
    assert torch.equal(seen.labels, plain.labels)
    same = next(data.test.seen_by(data.expectation).batches(9))
    assert torch.equal(same.images, plain.images)

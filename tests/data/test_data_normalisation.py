"""Mean and deviation as they are asked for, and how small crops may be."""

import pytest
import torch

from docendo.data import DataSettings, ResizedCrop, load
from docendo.errors import DocendoError


def test_mean_and_deviation_can_be_given():
    own, other = load(DataSettings()), load(DataSettings(mean=(0.5,), std=(0.25,)))
    assert (other.mean, other.std) == ((0.5,), (0.25,))
    assert own.fingerprint != other.fingerprint
    for split in ("val", "test"):
        ours, theirs = (next(getattr(data, split).batches(8)).images for data in (own, other))
        pixels = ours * own.std[0] + own.mean[0]
        torch.testing.assert_close(theirs, (pixels - 0.5) / 0.25, atol=1e-5, rtol=0)


def test_they_hold_for_streamed_images_too(make_folder):
    root = make_folder({"train/cat": 6, "train/dog": 6, "test/cat": 2, "test/dog": 2})
    asked = {"name": str(root), "mean": (0.1, 0.2, 0.3), "std": (1.0, 1.0, 2.0), "validation": 0.0, "workers": 0}
    memory, stream = (load(DataSettings(**asked, memory=where)) for where in ("device", "stream"))
    assert memory.mean == stream.mean == (0.1, 0.2, 0.3)
    images = next(memory.test.batches(4)).images
    assert torch.equal(images, next(stream.test.batches(4)).images)
    assert images[:, 2].min() >= -0.15 - 1e-6


def test_crops_can_be_smaller(make_folder):
    root = str(make_folder({"train/cat": 6, "train/dog": 6, "test/cat": 2, "test/dog": 2}))
    asked = {"name": root, "validation": 0.0, "augment": "resized_crop"}
    assert load(DataSettings(**asked)).augmentation == ResizedCrop()
    small = load(DataSettings(**asked, smallest_crop=0.08)).augmentation
    assert small == ResizedCrop(scale=(0.08, 1.0))
    boxes, _ = small.boxes(small.draw(4000, torch.Generator().manual_seed(0)))
    areas = boxes[:, 2] * boxes[:, 3]
    assert 0.08 - 1e-9 <= areas.min() < 0.1
    assert areas.max() <= 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mean": (0.5,)}, "mean=0.5 and std=null do not belong together: give as many numbers in both"),
        ({"std": (0.5,)}, "mean=null and std=0.5 do not belong together"),
        ({"mean": (0.5,), "std": (0.5, 0.5)}, "mean=0.5 and std=0.5,0.5 do not belong together"),
        ({"mean": (0.5,), "std": (0.0,)}, "mean=0.5, std=0: give finite numbers, and deviations above 0"),
        ({"mean": (float("nan"),), "std": (1.0,)}, "mean=nan, std=1: give finite numbers"),
        (
            {"mean": (0.5, 0.5, 0.5), "std": (1.0, 1.0, 1.0)},
            "have 3 numbers, but images of digits are grey: give 1 in each, or null",
        ),
        ({"smallest_crop": 0.0}, "smallest_crop=0.0 is out of range: .* above 0 and at most 1"),
        ({"smallest_crop": 1.5}, "smallest_crop=1.5 is out of range"),
        ({"smallest_crop": 0.1}, 'smallest_crop=0.1 says how small crops are, but augment="shift" crops none'),
        ({"smallest_crop": 0.1, "augment": "none"}, 'augment="none" crops none: leave smallest_crop out'),
    ],
)
def test_what_makes_no_sense_is_refused(settings, message):
    with pytest.raises(DocendoError, match=message):
        load(DataSettings(**settings))

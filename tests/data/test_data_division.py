import math

import numpy as np
import pytest
import torch

from docendo.data import DataSettings, Shift, generator, load
from docendo.data.sources.digits import digits
from docendo.data.stratify import hold_out, subset
from docendo.errors import DocendoError


def counts(split, classes=10):
    return torch.bincount(split.labels, minlength=classes).tolist()


def test_validation_takes_its_share_of_every_class_and_leaves_the_rest():
    whole, data = load(DataSettings(validation=0)), load(DataSettings(validation=0.25))
    assert whole.val is None
    for all_of_class, own in zip(counts(whole.train), counts(data.val), strict=True):
        assert own == round(0.25 * all_of_class)
    both = torch.cat([data.train.rows, data.val.rows])
    assert torch.equal(both.sort().values, whole.train.rows)
    assert data.train.rows.tolist() == sorted(data.train.rows.tolist())


def test_the_split_follows_its_own_seed():
    first, again, other = (load(DataSettings(split_seed=seed)) for seed in (0, 0, 1))
    assert torch.equal(first.val.rows, again.val.rows)
    assert not torch.equal(first.val.rows, other.val.rows)
    assert torch.equal(first.test.rows, other.test.rows)
    assert first.fingerprint == again.fingerprint != other.fingerprint


def test_a_small_class_gives_one_image_at_least_and_keeps_one():
    labels = torch.tensor([0] * 2 + [1] * 100)
    kept, taken = hold_out(labels, torch.arange(102), 0.01, generator(0))
    assert torch.bincount(labels[taken]).tolist() == [1, 1]
    kept, taken = hold_out(labels, torch.arange(102), 0.99, generator(0))
    assert torch.bincount(labels[kept]).tolist() == [1, 1]


@pytest.mark.parametrize("size", [3, 4, 17, 50, 99, 110])
def test_a_subset_has_every_class_in_its_share(size):
    labels = torch.tensor([0] * 1 + [1] * 9 + [2] * 100)[torch.randperm(110, generator=generator("mix"))]
    chosen = subset(labels, torch.arange(110), size, generator(0))
    assert len(chosen.unique()) == len(chosen) == size
    own = torch.bincount(labels[chosen]).tolist()
    assert own[0] == 1
    assert abs(own[1] - max(1, size * 9 / 110)) <= 1


def test_training_on_fewer_images_keeps_the_validation_images():
    whole, few = load(DataSettings()), load(DataSettings(train_images=200))
    assert len(few.train) == 200
    assert all(math.isclose(own, 20, abs_tol=1) for own in counts(few.train))
    assert torch.equal(whole.val.rows, few.val.rows)
    assert set(few.train.rows.tolist()) < set(whole.train.rows.tolist())
    assert few.mean == whole.mean


@pytest.mark.parametrize("size", [9, 1296])
def test_a_subset_of_impossible_size_is_refused(size):
    with pytest.raises(DocendoError, match=rf"^train_images={size}: give at least 10, .* and at most 1295, all that"):
        load(DataSettings(train_images=size))


def test_digits_are_all_there_in_grey():
    data = load(DataSettings(validation=0))
    assert len(data.train) + len(data.test) == 1797
    assert (data.name, data.channels, data.image_size, data.crop_ratio) == ("digits", 1, 8, 1.0)
    assert data.classes == tuple("0123456789")
    assert data.augmentation == Shift(pad=1, flip=False, pad_mode="zero")
    assert data.notes == ()
    for test, train in zip(counts(data.test), counts(data.train), strict=True):
        assert test == round(0.2 * (test + train))
    pixels = digits().parts["train"].pixels
    assert (int(pixels.min()), int(pixels.max())) == (0, 255)
    assert data.test.where(3) == "digits test image 3"


def test_mean_and_std_are_those_of_the_pixels_offered_for_training():
    data = load(DataSettings())
    pixels = digits().parts["train"].pixels.numpy() / 255
    np.testing.assert_allclose(data.mean, [pixels.mean()], rtol=1e-12)
    np.testing.assert_allclose(data.std, [pixels.std()], rtol=1e-12)


def test_digits_in_another_size_are_scaled():
    data = load(DataSettings(image_size=16, augment="shift_flip", pad_mode="reflect"))
    assert data.augmentation == Shift(2, True, "reflect")
    assert next(data.train.batches(3, table=data.train.epoch(0, "x", 0))).images.shape == (3, 1, 16, 16)


def test_the_fingerprint_tells_what_a_run_sees():
    prints = {
        load(DataSettings(**settings)).fingerprint
        for settings in (
            {},
            {"image_size": 10},
            {"validation": 0.2},
            {"validation": 0},
            {"split_seed": 1},
            {"train_images": 300},
            {"augment": "none"},
            {"pad": 2},
            {"pad_mode": "reflect"},
        )
    }
    assert len(prints) == 9
    assert load(DataSettings(root="/elsewhere", download=True, memory="device", workers=7)).fingerprint in prints


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"validation": 0.6}, r"validation=0.6 is out of range: .* from 0 \(none\) to 0.5"),
        ({"validation": -0.1}, "validation=-0.1 is out of range"),
        ({"validation": float("nan")}, "validation=nan is out of range"),
        ({"image_size": 3}, "image_size=3 is too small: give at least 4 pixels"),
        ({"train_images": 0}, "train_images=0: give at least 1"),
        ({"pad": -1}, "pad=-1: give 0 pixels or more"),
        ({"workers": -1}, "workers=-1: give 0"),
        ({"pad": 8, "pad_mode": "reflect"}, "pad=8 pixels cannot be mirrored out of an image of 8: give less than 8"),
        ({"pad": 1, "augment": "none"}, 'pad=1 says how far views are shifted, but augment="none" shifts none'),
        ({"name": "digit"}, 'no data set is called "digit", .* did you mean "digits"?'),
        ({"name": "zebra"}, "no data set is called .* known: digits, cifar10, cifar100"),
        ({"name": "/no/such/place"}, "there is no /no/such/place: its folder /no/such does not exist either"),
    ],
)
def test_settings_that_make_no_sense_are_refused_in_one_line(settings, message):
    with pytest.raises(DocendoError, match=message) as caught:
        load(DataSettings(**settings))
    assert "\n" not in str(caught.value)


def test_a_mistyped_path_is_answered_with_the_nearest_one(make_folder):
    root = make_folder({"cat": 3, "dog": 3})
    with pytest.raises(DocendoError, match=r'there is no .*/pest; did you mean "pets"\?'):
        load(DataSettings(name=str(root.parent / "pest")))


def test_every_setting_says_what_it_is():
    assert all(field.description for field in DataSettings.model_fields.values())

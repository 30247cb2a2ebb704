"""RandAugment, with torchvision's operations as the oracle."""

import pytest
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.autoaugment import RandAugment as Torchvisions
from torchvision.transforms.autoaugment import _apply_op

from docendo.data import RandAugment, generator
from docendo.data.operations import _KINDS, OPERATIONS, operated

NAMED_THERE = {
    name.replace("_", "").lower(): place for place, name in enumerate(OPERATIONS)
}  # torchvision writes ShearX and AutoContrast


def kinds_of_images(channels, side):
    """Noise, noise of few grey levels, a single level, and a ramp of all of them."""
    images = torch.randint(256, (4, channels, side, side), dtype=torch.uint8, generator=generator("operations", side))
    images[1] = images[1] // 8 + 60
    images[2] = 77
    images[3] = (torch.arange(side * side).view(side, side) * 255 // (side * side - 1)).to(torch.uint8)
    return images


def drawn(count, side, channels=3):
    images = torch.randint(256, (count, channels, side, side), dtype=torch.uint8, generator=generator("drawn"))
    return images, torch.randint(2**62, (count,), generator=generator("ids"))


# At other magnitudes a few pixels of a shear come from exactly between two others, and rounding decides.
@pytest.mark.parametrize("magnitude", [0, 1, 9, 15, 27, 30])
@pytest.mark.parametrize(("channels", "side"), [(3, 32), (1, 8)])
def test_each_operation_gives_the_pixels_of_torchvision(channels, side, magnitude):
    images = kinds_of_images(channels, side)
    space = Torchvisions()._augmentation_space(31, (side, side))
    assert {name.lower() for name in space} == set(NAMED_THERE)
    for name, (magnitudes, signed) in space.items():
        strength = float(magnitudes[magnitude]) if magnitudes.ndim else 0.0
        for negative in (False, True) if signed else (False,):
            asked = (name, -strength if negative else strength, InterpolationMode.NEAREST, None)
            expected = torch.stack([_apply_op(image, *asked) for image in images])
            operation = torch.full((4,), NAMED_THERE[name.lower()])
            got = operated(images, operation, torch.full((4,), negative), magnitude)
            assert got.dtype == torch.uint8
            assert torch.equal(got, expected), (name, negative)


def test_each_image_of_a_batch_gets_its_own_operations():
    images, ids = drawn(60, 12)
    changed = RandAugment(3, 15)(images, ids)
    for i in range(60):
        assert torch.equal(changed[i : i + 1], RandAugment(3, 15)(images[i : i + 1], ids[i : i + 1]))
    assert torch.equal(changed, RandAugment(3, 15)(images, ids))


def test_where_the_host_does_not_look_every_kind_of_operation_leaves_the_others_alone():
    images, ids = drawn(80, 12)
    operation, negative = RandAugment().drawn(ids, 0)
    assert len(operation.unique()) == len(OPERATIONS)
    everywhere = images
    for _, change in _KINDS:
        everywhere = change(everywhere, operation, negative, 20)
    assert torch.equal(everywhere, operated(images, operation, negative, 20))


def test_images_stay_as_they_were_given():
    images, ids = drawn(20, 12)
    before = images.clone()
    RandAugment(2, 30)(images, ids)
    assert torch.equal(images, before)


def test_operations_and_directions_are_about_equally_likely_and_anew_each_time():
    ids = torch.randint(2**62, (28_000,), generator=generator("often"))
    first, negative = RandAugment().drawn(ids, 0)
    second, _ = RandAugment().drawn(ids, 1)
    for operations in (first, second):
        often = torch.bincount(operations, minlength=14)
        assert 1800 < int(often.min()) <= int(often.max()) < 2200
    assert 0.48 < float(negative.double().mean()) < 0.52
    assert 0.06 < float((first == second).double().mean()) < 0.083  # 1 in 14


def test_two_operations_are_one_after_the_other():
    images, ids = drawn(30, 12)
    augment = RandAugment(2, 9)
    by_hand = images
    for step in (0, 1):
        by_hand = operated(by_hand, *augment.drawn(ids, step), 9)
    assert torch.equal(augment(images, ids), by_hand)
    assert torch.equal(RandAugment(1, 9)(images, ids), operated(images, *augment.drawn(ids, 0), 9))

import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from docendo.data import NoAugmentation, ResizedCrop, Shift, generator
from docendo.data.images import centre, to_tensor


def pixels(count, channels, side, seed=0):
    return torch.randint(256, (count, channels, side, side), dtype=torch.uint8, generator=generator("pixels", seed))


def slow_shifts(image, pad, flip, mode):
    """Every view in the order of the ids, one after the other."""
    padded = F.pad(image[None].double(), [pad] * 4, mode="reflect" if mode == "reflect" else "constant")[0]
    side = image.shape[1]
    for top in range(2 * pad + 1):
        for left in range(2 * pad + 1):
            cut = padded[:, top : top + side, left : left + side].to(torch.uint8)
            yield cut
            if flip:
                yield cut.flip(2)


@pytest.mark.parametrize("mode", ["zero", "reflect"])
@pytest.mark.parametrize(("pad", "flip", "channels", "side"), [(4, True, 3, 32), (1, False, 1, 8), (0, True, 3, 5)])
def test_view_ids_list_exactly_the_shifts(pad, flip, channels, side, mode):
    image = pixels(1, channels, side)[0]
    expected = torch.stack(list(slow_shifts(image, pad, flip, mode)))
    shift = Shift(pad, flip, mode)
    assert shift.count == len(expected)
    views = torch.arange(shift.count)
    got = shift(image.expand(shift.count, -1, -1, -1), views, side)
    assert got.dtype == torch.uint8
    assert torch.equal(got, expected)


def test_padding_4_and_flips_make_162_different_views_and_one_is_the_image():
    image = pixels(1, 3, 32)
    shift = Shift(4, True)
    views = shift(image.expand(162, -1, -1, -1), torch.arange(162), 32)
    assert shift.count == 162 == len(views.flatten(1).unique(dim=0))
    assert torch.equal(shift(image, torch.tensor([shift.plain]), 32), image)


def test_each_image_of_a_batch_gets_its_own_view():
    images, shift = pixels(40, 3, 16), Shift(2, True)
    view = shift.draw(40, generator("draw"))
    together = shift(images, view, 16)
    for i in range(40):
        assert torch.equal(together[i : i + 1], shift(images[i : i + 1], view[i : i + 1], 16))


def test_what_is_stored_larger_is_shifted_from_its_middle():
    images = pixels(3, 3, 20)
    view = torch.tensor([0, 5, 17])
    assert torch.equal(Shift(1, True)(images, view, 16), Shift(1, True)(centre(images, 16), view, 16))
    assert torch.equal(NoAugmentation()(images, view, 16), images[:, :, 2:18, 2:18])


def test_drawn_shifts_are_all_ids_about_equally_often():
    drawn = torch.bincount(Shift(1, True).draw(18_000, generator("draw")), minlength=18)
    assert len(drawn) == 18
    assert drawn.min() > 850
    assert drawn.max() < 1150


def test_there_is_one_view_without_augmentation():
    assert NoAugmentation().count == 1
    assert NoAugmentation().draw(5, generator(0)).tolist() == [0] * 5


def test_boxes_are_as_large_and_wide_as_they_say():
    crop = ResizedCrop(scale=(0.25, 1.0), ratio=(3 / 4, 4 / 3))
    views = crop.draw(20_000, generator("boxes"))
    assert 0 <= int(views.min()) <= int(views.max()) < 2**62
    boxes, mirrored = crop.boxes(views)
    left, top, width, height = boxes.T
    assert float(left.min()) >= 0
    assert float((left + width).max()) <= 1 + 1e-12
    assert float(top.min()) >= 0
    assert float((top + height).max()) <= 1 + 1e-12
    free = (width < 1) & (height < 1)
    area, ratio = (width * height)[free], (width / height)[free]
    assert 0.25 - 1e-9 <= float(area.min()) < 0.26
    assert float(area.max()) <= 1
    assert 0.75 - 1e-9 <= float(ratio.min()) < 0.76
    assert 1.32 < float(ratio.max()) <= 4 / 3 + 1e-9
    assert 0.45 < float(mirrored.double().mean()) < 0.55
    assert not ResizedCrop(flip=False).boxes(views)[1].any()


def test_a_resized_crop_depends_on_its_own_view_only():
    images, crop = pixels(9, 3, 24), ResizedCrop()
    view = crop.draw(9, generator("crops"))
    together = crop(images, view, 21)
    assert together.shape == (9, 3, 21, 21)
    assert together.dtype == torch.uint8
    assert torch.equal(together, crop(images, view, 21))
    assert torch.equal(together[3:4], crop(images[3:4], view[3:4], 21))
    assert not torch.equal(together[3:4], crop(images[3:4], view[4:5], 21))


def cut_out(crop, image, view, size):
    boxes, mirrored = crop.boxes(view[None])
    return crop.cut_out(image, 3, tuple(boxes[0].tolist()), bool(mirrored), size)


def test_a_crop_of_everything_is_the_image():
    images = pixels(2, 3, 16)
    whole = ResizedCrop(scale=(1, 1), ratio=(1, 1), flip=False)
    view = whole.draw(2, generator("whole"))
    assert torch.equal(whole(images, view, 16), images)
    image = Image.fromarray(images[0].permute(1, 2, 0).numpy())
    assert torch.equal(cut_out(whole, image, view[0], 16), images[0])


def test_a_worker_cuts_the_same_box_out_of_the_photograph_as_the_device_out_of_its_copy():
    # Red grows to the right and green downwards, so that a pixel says where it was.
    side = 300
    ramp = torch.linspace(0, 255, side)
    photo = torch.stack([ramp.expand(side, side), ramp[:, None].expand(side, side), torch.zeros(side, side)], dim=-1)
    wide = torch.cat([torch.full((side, 60, 3), 99.0), photo, torch.full((side, 61, 3), 99.0)], dim=1)
    wide = Image.fromarray(wide.round().to(torch.uint8).numpy())
    copy = wide.resize((64, 64), Image.Resampling.BILINEAR, box=(60, 0, 60 + side, side))
    stored = to_tensor(copy)[None]
    crop = ResizedCrop()
    for view in crop.draw(30, generator("geometry")):
        device = crop(stored, view[None], 56)[0].int()
        worker = cut_out(crop, wide, view, 56).int()
        inner = (device - worker).abs()[:, 2:-2, 2:-2]  # at the rim of the photograph the two resample differently
        assert int(inner.max()) <= 3

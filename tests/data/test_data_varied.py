"""What is done to views after they are cut, and pools of views."""

import pytest
import torch

from docendo.data import (
    Cutout,
    DataSettings,
    EpochTable,
    NoAugmentation,
    RandAugment,
    ResizedCrop,
    Shift,
    Varied,
    generator,
    hashed,
    load,
)
from docendo.errors import DocendoError

ALL = {"randaugment": (2, 9), "cutout": 3}


def ids_of(count):
    return torch.randint(2**62, (count,), generator=generator("ids"))


def fields(batches):
    batches = list(batches)
    return [torch.cat([batch[field] for batch in batches]) for field in range(4)]


def assert_same(first, second):
    assert all(torch.equal(one, other) for one, other in zip(fields(first), fields(second), strict=True))


@pytest.fixture
def pets(make_folder):
    return str(make_folder({"train/cat": 20, "train/dog": 19, "test/cat": 5, "test/dog": 4}, size=(20, 16)))


def open_pets(root, **settings):
    known = {"validation": 0.2, "workers": 0, "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.2, 0.2)}
    return load(DataSettings(name=root, **{**known, **settings}))


def test_what_is_hidden_is_a_square_around_any_pixel():
    images = torch.full((4000, 3, 9, 9), 200, dtype=torch.uint8)
    hidden = Cutout(4, (10, 20, 30))(images, ids_of(4000))
    assert hidden.unique().tolist() == [10, 20, 30, 200]
    covered = hidden[:, 0] == 10
    for channel, colour in ((1, 20), (2, 30)):
        assert torch.equal(hidden[:, channel] == colour, covered)
    rows, columns = covered.any(2), covered.any(1)
    assert torch.equal(covered, rows[:, :, None] & columns[:, None, :])
    # A centre at row 0 leaves rows 0 and 1, as two of four lie above it; at row 8 rows 6 to 8 are left.
    heights = torch.bincount(rows.sum(1), minlength=5).tolist()
    assert heights[:2] == [0, 0]
    for often, ninths in zip(heights[2:], (1, 2, 6), strict=True):
        assert abs(often / 4000 - ninths / 9) < 0.03
    first = rows.int().argmax(1)[rows.sum(1) == 4]
    assert first.unique().tolist() == [0, 1, 2, 3, 4, 5]


def test_hashes_are_spread_evenly_and_unrelated_by_what_is_drawn():
    ids = torch.arange(20_000)
    first, second = hashed(ids, "top"), hashed(ids, "left")
    for drawn in (first, second):
        assert 0 <= int(drawn.min()) <= int(drawn.max()) < 2**62
        assert len(drawn.unique()) == 20_000
        assert abs(float((drawn / 2**62).mean()) - 0.5) < 0.01
        for bit in (0, 1, 30, 61):
            assert abs(float((drawn >> bit & 1).double().mean()) - 0.5) < 0.02
    together = torch.corrcoef(torch.stack([first, second, ids]).double())
    assert float(together.fill_diagonal_(0).abs().max()) < 0.03


@pytest.mark.parametrize(("augment", "cut"), [("none", NoAugmentation()), ("shift_flip", Shift(2)), ("shift", None)])
def test_views_are_cut_then_operated_on_then_hidden_in_part(pets, augment, cut):
    data = open_pets(pets, augment=augment, **ALL)
    cut = cut or Shift(2, False)
    colour = (128, 102, 76)
    assert data.augmentation == Varied(cut, (RandAugment(2, 9), Cutout(3, colour)))
    assert (data.augmentation.count, data.augmentation.plain) == (None, -1)
    batch = next(data.train.batches(16, table=data.train.epoch(0, "student", 0)))
    pixels = data.train.store.pixels[data.train.rows[batch.index]].permute(0, 3, 1, 2)
    shifted = cut(pixels, hashed(batch.view, "cut") % cut.count, 16)
    made = Cutout(3, colour)(RandAugment(2, 9)(shifted, batch.view), batch.view)
    expected = (made / 255 - torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1)) / 0.2
    torch.testing.assert_close(batch.images, expected)


@pytest.mark.parametrize("settings", [ALL, {"pool": 5}, {"pool": 5, **ALL}])
def test_streaming_gives_the_same_bits_as_memory(pets, settings):
    memory, stream = (open_pets(pets, memory=m, augment="shift_flip", **settings) for m in ("device", "stream"))
    table = memory.train.epoch(0, "student", 3)
    assert torch.equal(table.view, stream.train.epoch(0, "student", 3).view)
    assert_same(memory.train.batches(7, table=table), stream.train.batches(7, table=table))


@pytest.mark.parametrize("settings", [ALL, {"pool": 5, **ALL}])
def test_streamed_crops_are_the_same_whatever_workers_batches_and_start(pets, settings):
    data = [open_pets(pets, memory="stream", augment="resized_crop", workers=w, **settings) for w in (0, 2)]
    table = data[0].train.epoch(1, "student", 0)
    whole = list(data[0].train.batches(8, table=table))
    assert_same(whole, data[1].train.batches(8, table=table))
    assert_same(whole, data[0].train.batches(7, table=table))
    assert_same(whole[2:], data[1].train.batches(8, table=table, start=2))
    bare = open_pets(pets, memory="stream", augment="resized_crop")
    assert isinstance(bare.augmentation, ResizedCrop)


def test_a_pool_has_the_same_few_views_in_every_run(pets):
    data = open_pets(pets, augment="shift_flip", pool=3, **ALL)
    assert data.augmentation.count == 3
    seen = {}
    for seed, stream, epoch in ((0, "student", 0), (0, "student", 1), (0, "student", 2), (7, "teacher", 0)):
        table = data.train.epoch(seed, stream, epoch)
        assert set(table.view.tolist()) <= {0, 1, 2}
        for batch in data.train.batches(8, table=table):
            for image, index, view in zip(batch.images, batch.index.tolist(), batch.view.tolist(), strict=True):
                known = seen.setdefault((index, view), image)
                assert torch.equal(image, known)
    drawn = torch.bincount(data.augmentation.draw(3000, generator("pool")), minlength=3)
    assert int(drawn.min()) > 900
    # Images that have the same id get different views, and one image's views differ.
    index, view = torch.arange(200).repeat_interleave(3), torch.arange(3).repeat(200)
    ids = data.augmentation.ids(index, view)
    assert len(ids.unique()) == 600
    assert len(data.augmentation.cut_views(ids).unique()) == 50  # of padding 2, with flips


def test_all_of_a_pool_can_be_made_again(pets):
    data = open_pets(pets, augment="resized_crop", pool=4)
    order = torch.arange(len(data.train))
    every = [fields(data.train.batches(8, table=EpochTable(order, torch.full_like(order, k))))[0] for k in range(4)]
    batch = next(data.train.batches(20, table=data.train.epoch(5, "student", 9)))
    expected = torch.stack([every[k][i] for i, k in zip(batch.index.tolist(), batch.view.tolist(), strict=True)])
    assert torch.equal(batch.images, expected)


def test_evaluation_sees_images_as_they_are(pets):
    plain, other = open_pets(pets), open_pets(pets, pool=4, **ALL)
    for split in ("train", "val", "test"):
        ours, theirs = (fields(getattr(data, split).batches(8)) for data in (plain, other))
        assert all(torch.equal(ours[field], theirs[field]) for field in range(3))
        assert set(theirs[3].tolist()) == {-1}


@pytest.mark.parametrize("augment", ["none", "shift_flip", "resized_crop"])
@pytest.mark.parametrize("more", [{"pool": 4}, {"mixup": 0.2, "cutmix": 1.0}, {"cutmix": 1.0}])
def test_nothing_asks_the_device_for_a_number(pets, augment, more):
    train = open_pets(pets, augment=augment, **ALL, **more).to("meta").train  # which has none to give
    batches = list(train.batches(8, table=train.epoch(0, "student", 0)))
    assert {tuple(batch.images.shape[1:]) for batch in batches} == {(3, 16, 16)}
    assert {batch.images.device.type for batch in batches} == {"meta"}


def test_making_views_leaves_the_global_generator_alone(pets):
    data = open_pets(pets, pool=4, **ALL)
    before = torch.get_rng_state()
    list(data.train.batches(8, table=data.train.epoch(0, "student", 0)))
    assert torch.equal(before, torch.get_rng_state())


def test_fingerprints_of_runs_without_any_of_it_stay_as_they_were():
    # As they were before any of it was built: a run of then must go on.
    assert load(DataSettings()).fingerprint == "4034fc7f1f5ad4d32bc9370867df5543"
    cropped = DataSettings(augment="resized_crop", smallest_crop=0.1)
    assert load(cropped).fingerprint == "516de86bf57c24994a35b236146404ed"


def test_whatever_changes_what_a_run_sees_changes_its_fingerprint():
    each = [
        {},
        {"cutout": 3},
        {"cutout": 2},
        {"randaugment": (2, 9)},
        {"randaugment": (2, 8)},
        {"pool": 8},
        {"pool": 7},
        {"pool": 8, "cutout": 3},
        {"mixup": 0.2},
        {"mixup": 0.3},
        {"cutmix": 0.2},
        {"cutmix": 0.2, "mixup": 0.2},
    ]
    assert len({load(DataSettings(**settings)).fingerprint for settings in each}) == len(each)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"randaugment": (2,)}, "randaugment=2: give two whole numbers, .* such as 2,9"),
        ({"randaugment": (0, 9)}, "randaugment=0,9: give two whole numbers, how many operations, at least 1"),
        ({"randaugment": (2, 31)}, "randaugment=2,31: .* magnitude from 0 to 30"),
        ({"cutout": 0}, "cutout=0: give at least 1 pixel, or leave it out"),
        ({"cutout": 8}, "cutout=8 may hide all of an image of 8 pixels: give less than 8"),
        ({"pool": 0}, "pool=0: give at least 1 view"),
        ({"pool": 9}, "pool=9 limits nothing, as each image has 9 views: leave pool out, or give less"),
        ({"pool": 1, "augment": "none"}, "pool=1 limits nothing, as each image has 1 view: leave pool out"),
        ({"mixup": 0.0}, r"mixup=0: shares are drawn from Beta\(mixup, mixup\), .* above 0; leave it out not to mix"),
        ({"cutmix": float("inf")}, "cutmix=inf: shares are drawn .* finite number above 0"),
        ({"mixup": float("nan")}, "mixup=nan: shares are drawn .* finite number above 0"),
        (
            {"pool": 4, "mixup": 0.2},
            r"pool=4 keeps views .* mixed images \(mixup=0.2\) cannot be: leave one of",
        ),
        ({"pool": 4, "cutmix": 1.0}, r"pool=4 keeps views .* mixed images \(cutmix=1\) cannot be"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(settings, message):
    with pytest.raises(DocendoError, match=message) as refused:
        load(DataSettings(**settings))
    assert "\n" not in str(refused.value)

import dataclasses

import pytest
import torch
from torchvision import transforms

from docendo.data import DataSettings, EpochTable, Shift, load


@pytest.fixture(scope="module")
def digits():
    return load(DataSettings())


def all_of(split, batch_size, table, start=0):
    batches = list(split.batches(batch_size, table=table, start=start))
    return [torch.cat([batch[field] for batch in batches]) for field in range(4)]


def shortened(split, count):
    return dataclasses.replace(split, labels=split.labels[:count], rows=split.rows[:count])


def test_the_same_arguments_give_the_same_table(digits):
    first, again = (digits.train.epoch(3, "student", 7) for _ in range(2))
    assert torch.equal(first.order, again.order)
    assert torch.equal(first.view, again.view)
    assert first.order.sort().values.tolist() == list(range(len(digits.train)))
    assert first.view.shape == first.order.shape
    assert first.order.dtype == first.view.dtype == torch.int64


@pytest.mark.parametrize("other", [(4, "student", 7), (3, "teacher", 7), (3, "student", 8)])
def test_another_seed_stream_or_epoch_gives_another_table(digits, other):
    first, second = digits.train.epoch(3, "student", 7), digits.train.epoch(*other)
    assert not torch.equal(first.order, second.order)
    assert not torch.equal(first.view, second.view)


def test_drawing_and_giving_batches_leaves_the_global_generator_alone(digits):
    before = torch.get_rng_state()
    list(digits.train.batches(64, table=digits.train.epoch(0, "student", 0)))
    assert torch.equal(before, torch.get_rng_state())


def test_samples_come_in_the_same_order_with_the_same_views_in_batches_of_any_size(digits):
    table = digits.train.epoch(0, "student", 0)
    small, large = all_of(digits.train, 7, table), all_of(digits.train, 100, table)
    for one, other in zip(small, large, strict=True):
        assert torch.equal(one, other)


def test_starting_later_gives_the_rest_of_the_epoch(digits):
    table = digits.train.epoch(0, "student", 0)
    whole = list(digits.train.batches(64, table=table))
    for start in (0, 1, 19, 20, len(whole), len(whole) + 3):
        tail = list(digits.train.batches(64, table=table, start=start))
        assert len(tail) == max(len(whole) - start, 0)
        for one, other in zip(whole[start:], tail, strict=True):
            assert all(torch.equal(one[field], other[field]) for field in range(4))


def test_batches_hold_what_the_table_says(digits):
    table = digits.train.epoch(5, "student", 2)
    batch = next(digits.train.batches(16, table=table))
    assert torch.equal(batch.index, table.order[:16])
    assert torch.equal(batch.view, table.view[table.order[:16]])
    assert torch.equal(batch.labels, digits.train.labels[batch.index])
    assert batch.progress == 0.0
    pixels = digits.train.store.pixels[digits.train.rows[batch.index]].permute(0, 3, 1, 2)
    moved = Shift(1, False)(pixels, batch.view, 8).float()
    expected = (moved / 255 - torch.tensor(digits.mean)) / torch.tensor(digits.std)
    torch.testing.assert_close(batch.images, expected)
    assert batch.images.dtype == torch.float32
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert batch.labels.dtype == batch.index.dtype == batch.view.dtype == torch.int64


def test_a_table_may_hold_a_part_of_the_epoch(digits):
    table = digits.train.epoch(0, "student", 0)
    batches = list(digits.train.batches(8, table=EpochTable(table.order[:20], table.view)))
    assert [len(batch.index) for batch in batches] == [8, 8, 4]


@pytest.mark.parametrize(
    ("count", "size", "sizes"), [(9, 4, [4, 4]), (10, 4, [4, 4, 2]), (8, 4, [4, 4]), (3, 1, [1] * 3)]
)
def test_a_last_batch_of_one_image_trains_nobody(digits, count, size, sizes):
    split = shortened(digits.train, count)
    batches = list(split.batches(size, table=split.epoch(0, "student", 0)))
    assert [len(batch.labels) for batch in batches] == sizes
    assert split.steps(size) == len(sizes)


def test_evaluation_sees_every_image_once_in_order_and_as_it_is(digits):
    split = shortened(digits.test, 9)
    batches = list(split.batches(4))
    assert [len(batch.labels) for batch in batches] == [4, 4, 1]
    assert torch.cat([batch.index for batch in batches]).tolist() == list(range(9))
    assert set(torch.cat([batch.view for batch in batches]).tolist()) == {digits.augmentation.plain}
    as_torchvision = transforms.Compose([transforms.ToTensor(), transforms.Normalize(digits.mean, digits.std)])
    expected = torch.stack([as_torchvision(split.store.pixels[row].numpy()) for row in split.rows])
    assert torch.equal(torch.cat([batch.images for batch in batches]), expected)


def test_the_plain_view_is_what_evaluation_sees(digits):
    table = EpochTable(torch.arange(20), torch.full((len(digits.train),), digits.augmentation.plain))
    trained, evaluated = next(digits.train.batches(20, table=table)), next(digits.train.batches(20))
    assert torch.equal(trained.images, evaluated.images)


def test_colours_are_normalised_as_by_torchvision(make_folder):
    data = load(DataSettings(name=str(make_folder({"cat": 10, "dog": 10})), augment="none"))
    batch = next(data.train.batches(5))
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    as_torchvision = transforms.Compose([transforms.ToTensor(), transforms.Normalize(data.mean, data.std)])
    expected = torch.stack([as_torchvision(data.train.store.part.read(row)) for row in data.train.rows[:5].tolist()])
    assert torch.equal(batch.images, expected)


def test_moving_copies_the_images_that_splits_share_once(digits):
    moved = digits.to("meta")
    assert moved.train.store is moved.val.store
    assert moved.train.store.device == moved.test.store.device == torch.device("meta")
    assert moved.train.labels.device == torch.device("cpu")
    assert digits.train.store.device == torch.device("cpu")
    assert next(moved.test.batches(4)).images.device == torch.device("meta")

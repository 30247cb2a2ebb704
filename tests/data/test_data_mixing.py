"""Mixup and CutMix: what becomes of images becomes of their labels."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

import docendo
from docendo.core import Batch
from docendo.data import DataSettings, EpochTable, Mixing, load
from docendo.data.mixing import spacing_of
from docendo.errors import DocendoError


@pytest.fixture(scope="module")
def digits():
    return {
        name: load(DataSettings(**alphas))
        for name, alphas in {
            "off": {},
            "mixup": {"mixup": 0.3},
            "cutmix": {"cutmix": 1.0},
            "both": {"mixup": 0.3, "cutmix": 1.0},
        }.items()
    }


def telling(count, classes=5, size=12):
    """Make images whose channel of their own class is 1 and whose others are 0: a mean over pixels is a label."""
    labels = torch.arange(count) % classes
    images = F.one_hot(labels, classes).float()[:, :, None, None].expand(-1, -1, size, size)
    return Batch.of(images.contiguous(memory_format=torch.channels_last), labels)


@pytest.mark.parametrize("mixing", [Mixing(5, mixup=0.5), Mixing(5, cutmix=0.7), Mixing(5, 0.5, 0.7)])
@pytest.mark.parametrize(("count", "spacing"), [(16, 8), (13, 4), (3, 1), (2, 1), (1, 1)])
def test_labels_are_the_shares_of_pixels(mixing, count, spacing):
    batch = telling(count)
    for number in range(12):
        mixed = mixing(batch, seed=3, number=number, spacing=spacing)
        torch.testing.assert_close(mixed.images.mean((2, 3)), mixed.labels)
        assert mixed.labels.dtype == torch.float32
        assert mixed.images.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(mixed.labels.sum(1), torch.ones(count))
        assert torch.equal(mixed.index, batch.index)
    assert torch.equal(batch.images, telling(count).images)


@pytest.mark.parametrize(("count", "spacing"), [(16, 8), (13, 4), (7, 2), (3, 1)])
def test_each_image_is_mixed_with_one_other_and_each_is_used_once(count, spacing):
    batch = telling(count, classes=count)
    mixed = Mixing(count, mixup=5.0)(batch, seed=0, number=0, spacing=spacing)
    assert (mixed.labels > 0).sum(1).tolist() == (mixed.labels > 0).sum(0).tolist() == [2] * count
    own, _ = Mixing(count, mixup=5.0).drawn(0, 0, 12)
    torch.testing.assert_close(mixed.labels.diagonal(), torch.full((count,), own))


def test_cutmix_takes_a_box_and_mixup_every_pixel():
    batch = telling(4)
    blended = Mixing(5, mixup=5.0)(batch, seed=0, number=0).images
    assert len(blended.flatten(2).unique(dim=2)[0, 0]) == 1
    for number in range(30):
        mixing = Mixing(5, cutmix=1.0)
        own, box = mixing.drawn(0, number, 12)
        top, bottom, left, right = box
        given = mixing(batch, seed=0, number=number).images[:, :, top:bottom, left:right]
        assert own == pytest.approx(1 - (bottom - top) * (right - left) / 144)
        assert torch.equal(given, batch.images.roll(-1, 0)[:, :, top:bottom, left:right])


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_shares_are_drawn_from_beta(alpha):
    shares = torch.tensor([Mixing(5, mixup=alpha).drawn(1, number, 8).own for number in range(3000)])
    assert abs(float(shares.mean()) - 0.5) < 0.03
    assert float(shares.var()) == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.08)
    boxes = [Mixing(5, cutmix=alpha).drawn(1, number, 64) for number in range(3000)]
    assert all(0 <= own <= 1 for own, _ in boxes)
    inner = [(b - t, r - le) for _, (t, b, le, r) in boxes if t > 0 and le > 0 and b < 64 and r < 64]
    assert max(abs(height - width) for height, width in inner) <= 1  # square, up to rounding


def test_with_both_each_batch_tosses_a_coin():
    boxed = [Mixing(5, 0.2, 1.0).drawn(0, number, 8).box is not None for number in range(2000)]
    assert 0.46 < sum(boxed) / 2000 < 0.54


@pytest.mark.parametrize("how", ["mixup", "cutmix", "both"])
def test_any_power_of_two_of_processes_mixes_the_same_pairs(digits, how):
    train = digits[how].train
    train = dataclasses.replace(train, labels=train.labels[:150], rows=train.rows[:150])
    table = train.epoch(0, "student", 0)
    whole = list(train.batches(64, table=table))
    assert [len(batch.labels) for batch in whole] == [64, 64, 22]
    for processes in (2, 4, 8):
        parts = [list(train.batches(64, table=table, share=(k, processes))) for k in range(processes)]
        for number, batch in enumerate(whole):
            for k in range(processes):
                part = parts[k][number]
                assert torch.equal(part.images, batch.images[k::processes])
                assert torch.equal(part.labels, batch.labels[k::processes])


def test_three_processes_mix_within_their_parts_by_the_same_shares(digits):
    train = digits["mixup"].train
    table = train.epoch(0, "student", 0)
    apart = list(digits["off"].train.batches(60, table=EpochTable(table.order, table.view), share=(1, 3)))
    for number, mixed in enumerate(train.batches(60, table=table, share=(1, 3))):
        own, _ = train.mixing.drawn(table.mixing, number, 8)
        spacing = spacing_of(min(60, len(train) - 60 * number), 3)
        expected = train.mixing(apart[number], seed=table.mixing, number=number, spacing=spacing)
        assert torch.equal(mixed.images, expected.images)
        assert float(mixed.labels.max()) == pytest.approx(max(own, 1 - own), abs=1e-6) or float(mixed.labels.max()) == 1


@pytest.mark.parametrize("processes", [1, 2, 3, 4, 5, 6, 7, 12, 64])
@pytest.mark.parametrize("images", [2, 3, 5, 22, 64, 100, 1024])
def test_pairs_stay_within_a_part_wherever_it_has_two_images(images, processes):
    spacing = spacing_of(images, processes)
    part = len(range(processes - 1, images, processes))  # of the last process, the shortest
    assert spacing >= 1
    if part >= 2:
        assert 2 * spacing <= part


def test_a_mix_is_a_function_of_seed_stream_epoch_and_batch(digits):
    train = digits["both"].train
    table = train.epoch(3, "student", 7)
    whole = list(train.batches(64, table=table))
    again = list(train.batches(64, table=train.epoch(3, "student", 7), start=2))
    for one, other in zip(whole[2:], again, strict=True):
        assert all(torch.equal(one[field], other[field]) for field in range(4))
    others = [train.epoch(*which).mixing for which in ((4, "student", 7), (3, "teacher", 7), (3, "student", 8))]
    assert len({table.mixing, *others}) == 4
    own = [train.mixing.drawn(table.mixing, number, 8) for number in range(20)]
    assert len(set(own)) > 15


def test_order_and_views_are_those_of_a_run_that_does_not_mix(digits):
    table, other = (digits[how].train.epoch(0, "student", 0) for how in ("off", "both"))
    assert table.mixing is None
    assert torch.equal(table.order, other.order)
    assert torch.equal(table.view, other.view)
    apart = EpochTable(other.order, other.view)
    for one, two in zip(
        digits["off"].train.batches(64, table=table), digits["both"].train.batches(64, table=apart), strict=True
    ):
        assert torch.equal(one.images, two.images)
        assert torch.equal(one.labels, two.labels)


def test_evaluation_never_mixes_and_the_data_set_says_whether_training_does(digits):
    assert [digits[how].mixes for how in ("off", "mixup", "cutmix", "both")] == [False, True, True, True]
    both = digits["both"]
    assert both.train.mixes
    assert not both.val.mixes
    assert not both.test.mixes
    assert next(both.train.batches(8)).labels.ndim == next(both.test.batches(8)).labels.ndim == 1


def test_mixing_leaves_the_global_generator_alone(digits):
    before = torch.get_rng_state()
    list(digits["both"].train.batches(64, table=digits["both"].train.epoch(0, "student", 0)))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(("batch_size", "processes"), [(1, 1), (3, 2), (7, 4)])
def test_a_batch_with_nobody_to_mix_with_is_refused(digits, batch_size, processes):
    train = digits["mixup"].train
    with pytest.raises(DocendoError, match=f"leaves none to mix with: give a batch size of at least {2 * processes}, "):
        next(train.batches(batch_size, table=train.epoch(0, "student", 0), share=(0, processes)))


@pytest.mark.parametrize("method", ["dkd", "crd", "sskd"])
def test_what_needs_one_class_is_refused_before_anything_is_written(method: str, tmp_path: Path) -> None:
    with pytest.raises(DocendoError, match="needs one class for each image, but labels are"):
        docendo.train(method, student="resnet8", set={"data.mixup": 0.5, "data.train_images": 50}, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()

import dataclasses
import multiprocessing
import os
import pickle
import signal

import pytest
import torch
from PIL import Image

from docendo.data import DataSettings, ResizedCrop, load
from docendo.errors import DocendoError


@pytest.fixture
def pets(make_folder):
    return make_folder({"train/cat": 30, "train/dog": 29, "test/cat": 5, "test/dog": 4}, size=(20, 16))


def open_pets(root, **settings):
    return load(DataSettings(name=str(root), **settings))


def same_scale(data):
    """Streamed and kept images are normalised differently; compare them without."""
    splits = {
        name: dataclasses.replace(getattr(data, name), mean=(0.0,) * 3, std=(1.0,) * 3)
        for name in ("train", "val", "test")
    }
    return dataclasses.replace(data, **splits)


def assert_same(first, second):
    first, second = list(first), list(second)
    assert len(first) == len(second) > 0
    for one, other in zip(first, second, strict=True):
        assert all(torch.equal(one[field], other[field]) for field in range(4))
        assert one.images.stride() == other.images.stride()


@pytest.mark.parametrize("augment", ["none", "shift", "shift_flip"])
@pytest.mark.parametrize("workers", [0, 2])
def test_streaming_gives_the_same_bits_as_memory(pets, augment, workers):
    settings = {"augment": augment, "workers": workers, "validation": 0.2}
    memory = same_scale(open_pets(pets, memory="device", **settings))
    stream = same_scale(open_pets(pets, memory="stream", **settings))
    table = memory.train.epoch(0, "student", 3)
    assert torch.equal(table.view, stream.train.epoch(0, "student", 3).view)
    assert_same(memory.train.batches(7, table=table), stream.train.batches(7, table=table))
    assert_same(memory.val.batches(4), stream.val.batches(4))
    assert_same(memory.test.batches(4), stream.test.batches(4))


def test_large_images_too_are_evaluated_the_same_from_disk_and_from_memory(make_folder):
    root = make_folder({"cat": 6, "dog": 6}, size=(90, 81))
    memory, stream = (same_scale(open_pets(root, memory=m, image_size=70, workers=0)) for m in ("device", "stream"))
    assert isinstance(stream.augmentation, ResizedCrop)
    assert_same(memory.test.batches(4), stream.test.batches(4))
    table = memory.train.epoch(0, "x", 0)
    kept, read = next(memory.train.batches(8, table=table)), next(stream.train.batches(8, table=table))
    # The same boxes, but cut out of the photograph and not out of a smaller copy of it.
    close = torch.nn.functional.avg_pool2d((kept.images - read.images).abs(), 10)
    assert float(close.mean()) < 0.08


def test_random_crops_are_the_same_whatever_the_number_of_workers(pets):
    data = [open_pets(pets, memory="stream", augment="resized_crop", workers=workers) for workers in (0, 1, 3)]
    table = data[0].train.epoch(1, "student", 0)
    whole = [list(one.train.batches(8, table=table)) for one in data]
    assert_same(whole[0], whole[1])
    assert_same(whole[0], whole[2])
    assert_same(whole[0][2:], data[1].train.batches(8, table=table, start=2))


def test_streaming_leaves_the_global_generator_alone(pets):
    data = open_pets(pets, memory="stream")
    before = torch.get_rng_state()
    list(data.train.batches(16, table=data.train.epoch(0, "x", 0)))
    assert torch.equal(before, torch.get_rng_state())


def test_workers_end_when_nobody_listens_any_more(pets):
    data = open_pets(pets, memory="stream", workers=2)
    batches = data.train.batches(4, table=data.train.epoch(0, "x", 0))
    next(batches)
    assert len(multiprocessing.active_children()) == 2
    batches.close()
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("workers", [0, 2])
def test_an_unreadable_image_is_named_in_one_line(pets, workers):
    path = pets / "train" / "dog" / "007.png"
    path.write_bytes(path.read_bytes()[:100])
    data = open_pets(pets, memory="stream", workers=workers)
    with pytest.raises(DocendoError, match=rf"^cannot read {path}: .*truncated[^\n]*$"):
        list(data.train.batches(8, table=data.train.epoch(0, "x", 0)))


def test_unreadable_rows_are_named_too(make_parquet, make_image, encode, tmp_path):
    images = [encode(make_image(i)) for i in range(12)]
    images[8] = None
    make_parquet("train.parquet", [0, 1] * 6, images=images)
    make_parquet("test.parquet", [0, 1])
    data = open_pets(tmp_path, memory="stream", validation=0)
    with pytest.raises(DocendoError, match=r"^cannot read \S*train.parquet row 8: there is no image$"):
        list(data.train.batches(4))


def test_a_worker_that_dies_is_reported_with_a_cure(pets, monkeypatch):
    data = open_pets(pets, memory="stream", workers=1)
    monkeypatch.setattr("docendo.data.stores.decode", lambda *image: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(DocendoError, match=r"^a process that decodes images died .*fewer than workers=1, or 0$"):
        list(data.train.batches(8))


def test_grey_digits_stream_as_well():
    memory, stream = (load(DataSettings(memory=m, workers=0)) for m in ("device", "stream"))
    table = memory.train.epoch(0, "x", 0)
    kept, read = next(memory.train.batches(9, table=table)), next(stream.train.batches(9, table=table))
    assert torch.equal(kept.index, read.index)
    assert stream.mean == (0.449,)
    torch.testing.assert_close(kept.images * memory.std[0] + memory.mean[0], read.images * 0.226 + 0.449)


def test_what_does_not_fit_is_streamed(pets, monkeypatch):
    monkeypatch.setattr("docendo.data.loading._FITS", 68 * 16 * 16 * 3)
    assert hasattr(open_pets(pets).train.store, "pixels")
    monkeypatch.setattr("docendo.data.loading._FITS", 68 * 16 * 16 * 3 - 1)
    assert not hasattr(open_pets(pets).train.store, "pixels")


def test_what_workers_need_can_be_sent_to_them_where_they_are_not_forked(pets, make_parquet, tmp_path):
    make_parquet("rows/a.parquet", [0, 1] * 10, row_group=3)
    for path in (pets, tmp_path / "rows"):
        data = open_pets(path, memory="stream", workers=0)
        sent = pickle.loads(pickle.dumps(data.train.store))
        again = dataclasses.replace(data.train, store=sent)
        assert_same(data.train.batches(4), again.batches(4))


def test_large_photographs_look_alike_in_training_from_disk_and_from_memory(tmp_path, make_image):
    photo = make_image(0, (9, 6)).resize((1800, 1200), Image.Resampling.BICUBIC)
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(4):
            photo.save(tmp_path / "photos" / name / f"{i}.jpg", quality=95)
    memory, stream = (
        same_scale(open_pets(tmp_path / "photos", memory=m, image_size=96, workers=0)) for m in ("device", "stream")
    )
    assert_same(memory.test.batches(4), stream.test.batches(4))
    table = memory.train.epoch(0, "x", 0)
    kept, read = next(memory.train.batches(4, table=table)), next(stream.train.batches(4, table=table))
    assert float((kept.images - read.images).abs().mean()) < 0.01

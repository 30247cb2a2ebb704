import numpy as np
import pytest
import torch

from docendo.data import DataSettings, ResizedCrop, Shift, load
from docendo.errors import DocendoError


def load_path(path, **settings):
    return load(DataSettings(name=str(path), **settings))


def refuses(path, message, **settings):
    with pytest.raises(DocendoError, match=message) as caught:
        load_path(path, **settings)
    assert "\n" not in str(caught.value)


def test_class_folders_alone_are_split_in_three(make_folder):
    data = load_path(make_folder({"dog": 20, "cat": 30, ".hidden": 1}))
    assert data.name == "pets"
    assert data.classes == ("cat", "dog")
    assert torch.bincount(data.test.labels).tolist() == [6, 4]
    assert torch.bincount(data.val.labels).tolist() == [2, 2]
    assert torch.bincount(data.train.labels).tolist() == [22, 14]
    rows = torch.cat([data.train.rows, data.val.rows, data.test.rows])
    assert rows.sort().values.tolist() == list(range(50))
    assert data.notes == ("there is no test set: 10 of 50 images, the same always, were set aside as one",)


def test_the_test_images_do_not_depend_on_the_seed_of_the_split(make_folder):
    root = make_folder({"dog": 20, "cat": 30})
    first, other = (load_path(root, split_seed=seed) for seed in (0, 1))
    assert torch.equal(first.test.rows, other.test.rows)
    assert not torch.equal(first.val.rows, other.val.rows)


def test_a_train_folder_alone_is_split_likewise(make_folder):
    data = load_path(make_folder({"train/cat": 10, "train/dog": 10}))
    assert (len(data.train), len(data.val), len(data.test)) == (14, 2, 4)
    assert data.notes[0].startswith("there is no test set")


def test_train_and_test_folders_leave_validation_to_be_drawn(make_folder):
    data = load_path(make_folder({"train/cat": 10, "train/dog": 10, "test/cat": 3, "test/dog": 2}))
    assert (len(data.train), len(data.val), len(data.test)) == (18, 2, 5)
    assert data.notes == ()


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_train_and_val_folders_make_val_the_test(make_folder, name):
    root = make_folder({"train/cat": 10, "train/dog": 10, f"{name}/cat": 3, f"{name}/dog": 2})
    data = load_path(root)
    assert (len(data.train), len(data.val), len(data.test)) == (18, 2, 5)
    assert data.notes == ("there is no test set: the validation images serve as one",)
    assert load_path(root, validation=0).val is None


def test_all_three_folders_are_used_as_they_are(make_folder):
    counts = {f"{part}/{name}": 4 for part in ("train", "val", "test") for name in ("cat", "dog")}
    root = make_folder(counts)
    data = load_path(root)
    assert (len(data.train), len(data.val), len(data.test)) == (8, 8, 8)
    assert data.val.where(0) == str(root / "val/cat/000.png")
    assert load_path(root, validation=0).val is None


def test_images_keep_their_pixels_labels_and_places(make_folder):
    root = make_folder({"cat": 12, "dog/deep/inside": 12})
    (root / "dog" / "notes.txt").write_text("no image")
    (root / "dog" / "._000.png").write_bytes(b"what some systems leave behind")
    data = load_path(root, validation=0, augment="none")
    for i in range(len(data.train)):
        where = data.train.where(i)
        assert ("cat" in where) == (data.classes[data.train.labels[i]] == "cat")
        expected = np.asarray(data.train.store.part.read(int(data.train.rows[i])))
        assert np.array_equal(data.train.store.pixels[data.train.rows[i]], expected)


def test_the_size_is_that_of_small_images_which_agree(make_folder):
    same = load_path(make_folder({"cat": 5, "dog": 5}, size=(14, 12), name="a"))
    assert (same.image_size, same.crop_ratio, same.channels) == (12, 1.0, 3)
    assert same.augmentation == Shift(1, True, "zero")
    mixed = make_folder({"cat": 5}, size=(14, 12), name="b")
    make_folder({"dog": 5}, size=(20, 20), name="b")
    data = load_path(mixed)
    assert data.image_size == 224
    assert data.crop_ratio == pytest.approx(8 / 7)
    assert data.augmentation == ResizedCrop()
    assert data.train.store.pixels.shape[1:] == (256, 256, 3)
    batch = next(data.train.batches(4, table=data.train.epoch(0, "x", 0)))
    assert batch.images.shape == next(data.train.batches(4)).images.shape == (4, 3, 224, 224)
    assert load_path(mixed, image_size=32).augmentation == Shift(4, True, "zero")


def test_the_fingerprint_follows_pixels_and_names(make_folder, make_image):
    root = make_folder({"cat": 10, "dog": 10})
    before, streamed = load_path(root).fingerprint, load_path(root, memory="stream").fingerprint
    moved = root.rename(root.parent / "elsewhere")
    assert load_path(moved).fingerprint == before
    assert load_path(moved, memory="stream").fingerprint == streamed
    make_image(99).save(moved / "cat" / "003.png")
    assert load_path(moved).fingerprint != before
    (moved / "cat" / "003.png").rename(moved / "cat" / "003x.png")
    assert load_path(moved, memory="stream").fingerprint != streamed


def test_what_holds_no_classes_is_refused(make_folder, tmp_path):
    (tmp_path / "empty").mkdir()
    refuses(tmp_path / "empty", "empty is empty: expected a folder for each class")
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat" / "a.png").touch()
    refuses(tmp_path / "flat", "flat holds no class folders: expected a folder for each class")
    refuses(make_folder({"cat": 3}, name="one"), 'one has one class folder, "cat", and nothing to tell it from')
    refuses(make_folder({"val/cat": 1, "test/cat": 1}, name="untrained"), "untrained holds test/, val/, but no train/")
    refuses(make_folder({"train/a": 1, "val/a": 1, "valid/a": 1}, name="twice"), "twice holds both val/ and valid/")
    refuses(make_folder({"cat": 3, "dog": 0}, name="bare"), "bare/dog holds no images, at least none whose names end")


def test_what_may_not_be_read_is_named(make_folder, monkeypatch):
    root = make_folder({"cat": 3, "dog": 3})

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("pathlib.Path.iterdir", refuse)
    refuses(root, "^cannot read .*/pets: Permission denied$")


def test_parts_with_different_classes_are_refused(make_folder):
    root = make_folder({"train/cat": 3, "train/dog": 3, "test/cat": 3, "test/cow": 3})
    refuses(root, 'train has 2 classes and .*/test has 2, but .* the same: "dog" only in .*/train, not in .*/test')
    root = make_folder({"train/cat": 3, "train/dog": 3, "val/cat": 3, "val/dog": 3, "val/cow": 3}, name="more")
    refuses(root, 'train has 2 classes and .*/val has 3, but .* the same: "cow" only in .*/val, not in .*/train')


def test_a_class_with_too_few_images_is_refused(make_folder):
    root = make_folder({"cat": 2, "dog": 9})
    refuses(root, 'class "cat" of pets has 2 images, but 3 are needed, one each for training and validation and test')
    assert load_path(root, validation=0).val is None
    root = make_folder({"train/cat": 1, "train/dog": 9, "test/cat": 1, "test/dog": 1}, name="b")
    refuses(root, 'class "cat" of b has 1 image, but 2 .* training and validation: add images, or set validation=0')


def test_unreadable_images_are_counted_and_the_first_are_named(make_folder):
    root = make_folder({"cat": 10, "dog": 10})
    whole = (root / "cat" / "000.png").read_bytes()
    (root / "cat" / "001.png").write_bytes(whole[: len(whole) // 2])
    refuses(
        root,
        r"^cannot read 1 of 20 images: \S*cat/001.png: .*truncated.*Repair or remove .* by --skip-corrupt",
    )
    for number in range(2, 6):
        (root / "dog" / f"00{number}.png").write_bytes(b"")
    refuses(root, r"cannot read 5 of 20 images: .*cat/001.png: .*; .*dog/002.png: the file is empty .*; and 2 more\. ")
    for path in root.glob("*/*.png"):
        path.write_bytes(b"no image")
    refuses(root, "cannot read 20 of 20 images", memory="device", image_size=8)


def test_small_and_large_files_decode_alike(make_folder, monkeypatch):
    root = make_folder({"cat": 10, "dog": 10})
    one_by_one = load_path(root).train.store.pixels
    monkeypatch.setattr("docendo.data.sources.part._WORTH_A_THREAD", 0)
    assert torch.equal(load_path(root).train.store.pixels, one_by_one)

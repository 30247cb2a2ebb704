import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from docendo.data import DataSettings, image_at, load
from docendo.errors import DocendoError

NAMES = ["cat", "dog"]


def load_path(path, **settings):
    return load(DataSettings(name=str(path), **settings))


def refuses(path, message, **settings):
    with pytest.raises(DocendoError, match=message) as caught:
        load_path(path, **settings)
    assert "\n" not in str(caught.value)


def test_splits_come_from_file_names_and_classes_from_the_metadata(make_parquet, tmp_path):
    make_parquet("train-00001-of-00002.parquet", [1, 0, 1, 1, 0], names=NAMES)
    make_parquet("train-00000-of-00002.parquet", [0, 1] * 5, names=NAMES)
    make_parquet("test-00000-of-00001.parquet", [1, 0, 0], names=NAMES)
    data = load_path(tmp_path, validation=0)
    assert data.classes == ("cat", "dog")
    assert data.train.labels.tolist() == [0, 1] * 5 + [1, 0, 1, 1, 0]
    assert data.test.labels.tolist() == [1, 0, 0]
    assert data.train.where(9) == f"{tmp_path}/train-00000-of-00002.parquet row 9"
    assert data.train.where(10) == f"{tmp_path}/train-00001-of-00002.parquet row 0"
    assert (data.image_size, data.notes) == (12, ())


def test_pixels_belong_to_their_rows(make_parquet, make_image, encode, tmp_path):
    images = [make_image(i) for i in range(11)]
    encoded = [encode(image, ("PNG", "BMP", "WEBP")[i % 2]) for i, image in enumerate(images)]
    make_parquet("train.parquet", [i % 2 for i in range(11)], images=encoded, row_group=3)
    make_parquet("test.parquet", [0, 1])
    data = load_path(tmp_path, validation=0)
    for i, image in enumerate(images):
        assert np.array_equal(data.train.store.pixels[i], image)
        assert np.array_equal(data.train.store.part.read(i), image)


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_a_data_folder_and_other_names_for_columns_and_splits(make_parquet, tmp_path, name):
    columns = ("img", "fine_label")
    make_parquet("data/train-0.parquet", [0, 1] * 5, names=NAMES, columns=columns)
    make_parquet(f"data/{name}-0.parquet", [0, 1], names=NAMES, columns=columns)
    make_parquet("data/dev-0.parquet", [0, 1], names=NAMES, columns=columns)
    data = load_path(tmp_path)
    assert (len(data.train), len(data.val), len(data.test)) == (8, 2, 2)
    assert data.classes == ("cat", "dog")
    assert "dev-0.parquet is not used: its name says neither train nor val nor test" in data.notes
    assert "there is no test set: the validation images serve as one" in data.notes


def test_files_without_a_split_in_their_names_are_one_pool(make_parquet, tmp_path):
    path = make_parquet("part-0.parquet", [0, 1, 2] * 5)
    data = load_path(path)
    assert (len(data.train), len(data.val), len(data.test)) == (9, 3, 3)
    assert (data.name, data.classes) == ("part-0", ("0", "1", "2"))
    make_parquet("part-1.parquet", [0, 1, 2] * 5)
    assert len(load_path(tmp_path).test) == 6


def test_plain_bytes_do_as_well(make_image, encode, tmp_path):
    images = [encode(make_image(i)) for i in range(10)]
    pq.write_table(pa.table({"image": pa.array(images, pa.binary()), "label": [0, 1] * 5}), tmp_path / "a.parquet")
    assert len(load_path(tmp_path / "a.parquet").test) == 2


def test_a_class_that_no_training_image_shows_is_only_noted(make_parquet, tmp_path):
    make_parquet("train.parquet", [0, 2] * 5, names=["cat", "cow", "dog"])
    make_parquet("test.parquet", [0, 1, 2], names=["cat", "cow", "dog"])
    data = load_path(tmp_path)
    assert data.notes == ('no training image shows "cow"',)
    assert len(data.classes) == 3


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1, 0, 2, 5], r"train.parquet row 3 has label 2 \(and 1 more\), but the 2 classes have labels 0 to 1"),
        (
            [0, 1, -1, 1, 0],
            "train.parquet row 2 has label -1, but the 2 classes have labels 0 to 1: correct the labels",
        ),
        ([0, 1, None, 1, None], r"train.parquet row 2 has no label \(and 1 more\)"),
        ([1, 1, 1, 1], 'all training images of .* show one class, "dog": give at least 2 classes'),
        ([], "train.parquet: there are no rows"),
        ([0, 1, 1, 1], 'class "cat" of .* has 1 image, but 2 are needed'),
    ],
)
def test_wrong_labels_are_refused_with_their_row(make_parquet, tmp_path, labels, message):
    make_parquet("train.parquet", labels, names=NAMES)
    make_parquet("test.parquet", [0, 1], names=NAMES)
    refuses(tmp_path, message)


def test_a_wrong_test_label_is_refused_too(make_parquet, tmp_path):
    make_parquet("train.parquet", [0, 1] * 5)
    make_parquet("test.parquet", [0, 1, 2])
    refuses(tmp_path, "test.parquet row 2 has label 2, but the 2 classes have labels 0 to 1")


def test_labels_that_do_not_number_classes_are_refused(make_parquet, tmp_path):
    refuses(make_parquet("a.parquet", [7, 10**9, 7]), "a.parquet row 1 has label 1000000000, but there are only 3")
    path = make_parquet("b.parquet", ["cat", "dog"], label_type=pa.string())
    refuses(path, "b.parquet: column label holds string, but whole numbers are needed")


def test_wrong_columns_are_refused_with_those_found(make_parquet, tmp_path):
    path = make_parquet("a.parquet", [0, 1], columns=("photo", "label"))
    refuses(path, "a.parquet has the columns photo, label, id, but none called image or img")
    path = make_parquet("b.parquet", [0, 1], columns=("image", "coarse_label"))
    refuses(path, "b.parquet has the columns image, coarse_label, id, but none called label or fine_label")
    pq.write_table(pa.table({"image": ["x.png"], "label": [0]}), tmp_path / "c.parquet")
    refuses(tmp_path / "c.parquet", "c.parquet: column image holds string, but image files as {bytes, path} are needed")


def test_files_that_disagree_or_lack_training_rows_are_refused(make_parquet, tmp_path):
    make_parquet("a/train.parquet", [0, 1], names=NAMES)
    make_parquet("a/test.parquet", [0, 1], names=["dog", "cat"])
    refuses(tmp_path / "a", "test.parquet and .*train.parquet name different classes")
    make_parquet("b/test.parquet", [0, 1], names=NAMES)
    refuses(tmp_path / "b", "b holds test.parquet, but no train-")


def test_what_is_not_parquet_or_damaged_is_refused(make_parquet, tmp_path):
    text = tmp_path / "text.parquet"
    text.write_text("not at all")
    refuses(text, "text.parquet is not a Parquet file, or a damaged one: ")
    cut = make_parquet("cut.parquet", [0, 1] * 5)
    cut.write_bytes(cut.read_bytes()[:-20])
    refuses(cut, "cut.parquet is not a Parquet file, or a damaged one: ")
    hole = make_parquet("hole.parquet", [0, 1] * 5)
    data = bytearray(hole.read_bytes())
    data[4:200] = bytes(196)
    hole.write_bytes(data)
    refuses(hole, "hole.parquet is not a Parquet file, or a damaged one: ", image_size=8)


def test_unreadable_images_are_named_by_file_and_row(make_parquet, make_image, encode, tmp_path):
    images = [encode(make_image(i)) for i in range(12)]
    images[5], images[7], images[9] = images[5][:60], b"", None
    make_parquet("train.parquet", [0, 1] * 6, images=images)
    make_parquet("test.parquet", [0, 1])
    refuses(
        tmp_path,
        r"^cannot read 3 of 14 images: \S*train.parquet row 5: .*truncated.*; \S*train.parquet row 7: the file is "
        r"empty \(0 bytes\); \S*train.parquet row 9: there is no image\. Repair or remove them, ",
    )


def test_without_pyarrow_it_says_what_to_install(make_parquet, monkeypatch):
    path = make_parquet("a.parquet", [0, 1] * 5)
    for name in ("parquet", "parquet_file"):
        monkeypatch.delitem(sys.modules, f"docendo.data.sources.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    refuses(path, r'a.parquet: to read Parquet files, pip install "docendo\[parquet\]"$')


def test_streamed_rows_are_those_in_memory(make_parquet, tmp_path):
    make_parquet("train.parquet", [0, 1] * 20, row_group=7)
    make_parquet("test.parquet", [0, 1])
    memory, stream = (load_path(tmp_path, memory=where, workers=0) for where in ("device", "stream"))
    table = memory.train.epoch(0, "x", 0)
    pictures = [
        torch.cat(
            [b.images * torch.tensor(d.std)[:, None, None] + torch.tensor(d.mean)[:, None, None] for b in batches]
        )
        for d, batches in ((d, d.train.batches(8, table=table)) for d in (memory, stream))
    ]
    torch.testing.assert_close(*pictures)
    assert stream.mean == (0.485, 0.456, 0.406)


def test_a_single_row_is_named_behind_a_hash(make_parquet, make_image, encode, tmp_path):
    images = [make_image(i) for i in range(11)]
    path = make_parquet("a.parquet", [0] * 11, images=[encode(image) for image in images], row_group=3)
    for row in (0, 2, 3, 10):
        assert np.array_equal(image_at(f"{path}#{row}"), images[row])
    for name, message in (
        (f"{path}#11", f"^{path} has 11 rows, counted from 0, and none numbered 11$"),
        (f"{path}", f"^{path} names no image: give a row of the file after #, such as {path}#0$"),
        (f"{tmp_path}/b.parquet#0", f"^there is no {tmp_path}/b.parquet$"),
        (f"{path}#x", f"^cannot read {path}#x: No such file or directory$"),
    ):
        with pytest.raises(DocendoError, match=message):
            image_at(name)
    images[4].save(tmp_path / "b.png")
    (tmp_path / "b.png").rename(tmp_path / "a.parquet#4")
    path.unlink()
    assert np.array_equal(image_at(f"{path}#4"), images[4])

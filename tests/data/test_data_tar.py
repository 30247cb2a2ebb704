"""WebDataset shards."""

import io
import json
import tarfile

import numpy as np
import pytest
import torch

from docendo.data import DataSettings, load
from docendo.errors import DocendoError


def write_tar(path, members, form=tarfile.PAX_FORMAT):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=form) as file:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return path


@pytest.fixture
def make_tar(tmp_path, make_image, encode):
    """Write samples, a label each, with images that their number draws."""

    def make(path, labels, first=0, **more):
        members = {}
        for i, label in enumerate(labels, first):
            members |= {f"x/{i:04}.png": encode(make_image(i)), f"x/{i:04}.cls": str(label).encode()}
        return write_tar(tmp_path / path, members | more)

    return make


def load_path(path, **settings):
    return load(DataSettings(name=str(path), **settings))


def refuses(path, message, **settings):
    with pytest.raises(DocendoError, match=message) as caught:
        load_path(path, **settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("memory", ["device", "stream"])
def test_pixels_belong_to_their_labels(make_tar, make_image, tmp_path, memory):
    make_tar("pets-train-000001.tar", [1, 1, 0, 1], first=10)
    make_tar("pets-train-000000.tar", [0, 1] * 5)
    make_tar("pets-validation-000000.tar", [1, 0], first=20)
    (tmp_path / "classnames.txt").write_text("cat\nKätzchen\n", encoding="utf-8")
    data = load_path(tmp_path, validation=0, memory=memory, workers=0, augment="none")
    assert (data.classes, data.image_size) == (("cat", "Kätzchen"), 12)
    assert data.train.labels.tolist() == [0, 1] * 5 + [1, 1, 0, 1]
    assert data.train.where(10) == f"{tmp_path}/pets-train-000001.tar x/0010.png"
    for i in range(14):
        assert np.array_equal(data.train.store.part.read(i), make_image(i))
    batch = next(data.train.batches(14, table=data.train.epoch(0, "x", 0)))
    for index, pixels in zip(batch.index.tolist(), batch.images, strict=True):
        shown = pixels * torch.tensor(data.std)[:, None, None] + torch.tensor(data.mean)[:, None, None]
        expected = torch.from_numpy(np.array(make_image(index))).permute(2, 0, 1) / 255
        torch.testing.assert_close(shown, expected, atol=1e-5, rtol=0)


def test_folders_and_plain_files_and_json(make_tar, make_image, encode, tmp_path):
    make_tar("wds/train/0.tar", [0, 1] * 5)
    make_tar("wds/test/0.tar", [0, 1], first=30)
    assert len(load_path(tmp_path / "wds").test) == 2
    picture = encode(make_image(0))
    members = {}
    for i in range(10):
        label = [i % 2, {"label": i % 2, "text": "x"}, {"cls": i % 2}][i % 3]
        members |= {f"{i}.JSON.json": b"not this", f"{i}.webp": encode(make_image(i), "WEBP")}
        members |= {f"{i}.json": json.dumps(label).encode()}
    path = write_tar(tmp_path / "one.tar", members | {"readme.txt": b"", "99.cls": b"3", "folder/._1.png": picture})
    data = load_path(path, validation=0)
    assert (data.name, data.classes, len(data.train) + len(data.test)) == ("one", ("0", "1"), 10)


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_names_and_names_in_unicode(make_image, encode, tmp_path, form):
    names = [f"{'long/' * 40}猫{i}é" for i in range(6)]
    members = {}
    for i, name in enumerate(names):
        members |= {f"{name}.cls": b"%d\n" % (i % 2), f"{name}.png": encode(make_image(i))}
    data = load_path(write_tar(tmp_path / "a.tar", members, form), validation=0)
    assert {data.train.where(i).split(" ")[1].removesuffix(".png") for i in range(4)} < set(names)
    assert np.array_equal(data.train.store.part.read(3), make_image(3))


def test_wrong_samples_are_refused_by_name(make_tar, make_image, encode, tmp_path):
    picture = encode(make_image(0))
    for members, message in (
        ({"1.png": picture}, r"a.tar 1.png has no label beside it: add one called 1.cls$"),
        ({"k/1.png": picture}, r"a.tar k/1.png has no label beside it: add one called k/1.cls$"),
        ({"1.png": picture, "1.cls": b"cat"}, r"a.tar 1.cls holds no label: it must be a whole number"),
        ({"1.png": picture, "1.json": b'{"text": 1}'}, r"a.tar 1.json holds no label"),
        ({"1.png": picture, "1.json": b'{"label": true}'}, r"a.tar 1.json holds no label"),
        ({"1.png": picture, "1.jpg": picture}, r"a.tar has two images of one name: 1.png, 1.jpg"),
        ({"1.cls": b"1"}, r"a.tar: there are no images"),
    ):
        refuses(write_tar(tmp_path / "a.tar", members), message)
    refuses(
        make_tar("b.tar", [0, 1, 0, 10**6, 1]), r"b.tar x/0003.png has label 1000000, but there are only 5 training"
    )
    make_tar("named/train.tar", [0, 1, 2])
    (tmp_path / "named" / "classes.txt").write_text("cat\ndog")
    refuses(tmp_path / "named", r"train.tar x/0002.png has label 2, but the 2 classes have labels 0 to 1")
    (tmp_path / "named" / "classes.txt").write_bytes(b"caf\xe9\n")
    refuses(tmp_path / "named", r"classes.txt is not text in UTF-8: .* at byte 3$")


def test_damaged_files_are_refused(make_tar, tmp_path):
    path = make_tar("a.tar", [0, 1] * 5)
    whole = path.read_bytes()
    path.write_bytes(whole[:5000])
    refuses(path, r"a.tar is not a plain tar file, or a damaged one: ")
    path.write_bytes(b"")
    refuses(path, r"a.tar is not a plain tar file, or a damaged one: empty file")
    path.write_bytes(b"\x1f\x8b" + whole)
    refuses(path, r"a.tar is not a plain tar file, or a damaged one: ")
    make_tar("only/test.tar", [0, 1])
    refuses(tmp_path / "only", r"only holds test.tar, but no train-\*.tar")


def test_an_unreadable_image_is_named_by_shard_and_name(make_tar, tmp_path):
    path = make_tar("a.tar", [0, 1] * 5, **{"9/1.jpg": b"no image", "9/1.cls": b"1"})
    refuses(path, r"^cannot read 1 of 11 images: \S*a.tar 9/1.jpg: not an image")
    data = load_path(path, memory="stream", workers=1, validation=0)
    path.unlink()
    with pytest.raises(DocendoError, match=r"^cannot read \S*a.tar x/000\d.png: No such file or directory$"):
        list(data.train.batches(4))


def test_archives_beside_class_folders_are_not_shards(make_folder, make_tar):
    root = make_folder({"cat": 10, "dog": 10})
    make_tar("pets/pets.tar", [0, 1])
    assert load_path(root).classes == ("cat", "dog")
    root = make_folder({"train/cat": 10, "train/dog": 10}, name="more")
    make_tar("more/train.tar", [0, 1])
    assert load_path(root).classes == ("cat", "dog")

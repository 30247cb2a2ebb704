"""SVHN, MNIST and Fashion-MNIST as torchvision lays them out; ImageNet and Tiny ImageNet as they are unpacked."""

import hashlib

import numpy as np
import pytest
import scipy.io
import torch
from torchvision import datasets

from docendo.data import DataSettings, Shift, load
from docendo.errors import DocendoError


def open_set(name, root, **settings):
    return load(DataSettings(name=name, root=str(root), **settings))


@pytest.fixture
def svhn(tmp_path, monkeypatch):
    """Write SVHN with few images; its labels go from 1 to 10."""
    random = np.random.default_rng(0)
    files, pixels = {}, {}
    for part in ("train", "test"):
        pixels[part] = random.integers(0, 256, (32, 32, 3, 40), dtype=np.uint8)
        file = tmp_path / f"{part}_32x32.mat"
        scipy.io.savemat(file, {"X": pixels[part], "y": np.arange(40)[:, None] % 10 + 1})
        files[part] = ["", file.name, hashlib.md5(file.read_bytes()).hexdigest()]
    monkeypatch.setattr(datasets.SVHN, "split_list", files | {"extra": files["train"]})
    return pixels


def write_ubyte(path, values):
    """Write numbers as MNIST's files hold them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    head = bytes([0, 0, 8, values.ndim]) + b"".join(size.to_bytes(4, "big") for size in values.shape)
    path.write_bytes(head + values.astype(np.uint8).tobytes())


def write_mnist(root, name):
    random = np.random.default_rng(1)
    for part, count in (("train", 60), ("t10k", 20)):
        raw = root / name / "raw"
        write_ubyte(raw / f"{part}-images-idx3-ubyte", random.integers(0, 256, (count, 28, 28)))
        write_ubyte(raw / f"{part}-labels-idx1-ubyte", np.arange(count) % 10)


def test_svhn_is_read_and_never_mirrored(svhn, tmp_path):
    data = open_set("svhn", tmp_path)
    assert (data.name, data.channels, data.image_size, data.crop_ratio) == ("svhn", 3, 32, 1.0)
    assert data.classes == tuple("0123456789")
    assert data.augmentation == Shift(4, False, "zero")
    assert (len(data.train), len(data.val), len(data.test)) == (30, 10, 40)
    assert data.test.labels.tolist() == [*range(1, 10), 0] * 4
    assert np.array_equal(data.test.store.pixels[7], svhn["test"][:, :, :, 7])
    assert data.mean == (0.4377, 0.4438, 0.4728)


@pytest.mark.parametrize(
    ("name", "folder", "flip", "classes", "mean"),
    [
        ("mnist", "MNIST", False, tuple("0123456789"), (0.1307,)),
        ("fashion-mnist", "FashionMNIST", True, tuple(datasets.FashionMNIST.classes), (0.2860,)),
    ],
)
def test_mnist_and_fashion_mnist_are_read(tmp_path, name, folder, flip, classes, mean):
    write_mnist(tmp_path, folder)
    data = open_set(name, tmp_path)
    assert (data.name, data.channels, data.image_size, data.classes) == (name, 1, 28, classes)
    assert (data.augmentation, data.mean) == (Shift(3, flip, "zero"), mean)
    assert next(data.train.batches(4)).images.shape == (4, 1, 28, 28)
    assert data.test.labels.tolist() == [*range(10)] * 2
    assert open_set(name, tmp_path, image_size=32).train.store.pixels.shape[1:] == (32, 32, 1)


@pytest.mark.parametrize("name", ["svhn", "mnist", "fashion-mnist"])
def test_what_is_not_there_or_damaged_is_answered_with_the_cure(tmp_path, name):
    with pytest.raises(DocendoError, match=rf"^{name} is not in {tmp_path}/\S+: add --download .* --root$"):
        open_set(name, tmp_path)
    write_mnist(tmp_path, {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}.get(name, "else"))
    (tmp_path / "train_32x32.mat").write_bytes(b"broken")
    for file in tmp_path.glob("*MNIST/raw/train-images*"):
        file.write_bytes(file.read_bytes()[:999])
    with pytest.raises(DocendoError, match=rf"^{name} in {tmp_path}/\S+ is incomplete or damaged \([^\n]*--download"):
        open_set(name, tmp_path)


@pytest.fixture
def tiny(tmp_path, make_image):
    """Write Tiny ImageNet with three classes."""
    root = tmp_path / "tiny-imagenet-200"
    ids = ["n03", "n01", "n02"]
    for number, one in enumerate(ids):
        folder = root / "train" / one / "images"
        folder.mkdir(parents=True)
        (folder.parent / f"{one}_boxes.txt").write_text("")
        for i in range(6):
            make_image(10 * number + i, (64, 64)).save(folder / f"{one}_{i}.JPEG")
    for part in ("val", "test"):
        (root / part / "images").mkdir(parents=True)
        for i in range(4):
            make_image(100 + i, (64, 64), "L" if i == 2 else "RGB").save(root / part / "images" / f"{part}_{i}.JPEG")
    lines = [f"val_{i}.JPEG\t{one}\t0\t0\t9\t9" for i, one in ((3, "n01"), (1, "n03"), (0, "n02"), (2, "n03"))]
    (root / "val" / "val_annotations.txt").write_text("\n".join(lines) + "\n")
    (root / "wnids.txt").write_text("\n".join(ids) + "\n")
    (root / "words.txt").write_text("n00\tentity\nn01\tgoldfish, Carassius auratus\nn03\tcafé\n", encoding="utf-8")
    return root


def test_tiny_imagenet_is_read_with_its_names(tiny, tmp_path):
    data = open_set("tiny-imagenet", tmp_path)
    assert (data.name, data.image_size, data.crop_ratio) == ("tiny-imagenet", 64, 1.0)
    assert data.classes == ("goldfish, Carassius auratus", "n02", "café")
    assert data.augmentation == Shift(8, True, "zero")
    assert (len(data.train), len(data.val), len(data.test)) == (15, 3, 4)
    assert data.test.labels.tolist() == [0, 2, 1, 2]
    assert data.test.where(0) == str(tiny / "val" / "images" / "val_3.JPEG")
    assert all(
        data.classes[label] != "café" or "/n03/" in data.train.where(i) for i, label in enumerate(data.train.labels)
    )
    assert data.notes == ("there is no test set: the validation images serve as one",)
    assert open_set("tiny-imagenet", tiny).fingerprint == data.fingerprint


def test_an_incomplete_tiny_imagenet_is_refused(tiny, tmp_path):
    annotations = tiny / "val" / "val_annotations.txt"
    annotations.write_text(annotations.read_text() + "val_4.JPEG\tn99\t0\n")
    with pytest.raises(DocendoError, match=r"val_annotations.txt has the line 'val_4.JPEG n99', but wnids.txt no such"):
        open_set("tiny-imagenet", tmp_path)
    annotations.unlink()
    with pytest.raises(DocendoError, match=rf"^there is no {annotations}: .*--data {tiny}\)$"):
        open_set("tiny-imagenet", tmp_path)
    with pytest.raises(DocendoError, match=rf"^tiny-imagenet is neither in {tiny}/train/tiny\S+ nor in .* --root$"):
        open_set("tiny-imagenet", tiny / "train")


@pytest.mark.parametrize("inside", ["imagenet/", ""])
def test_imagenet_is_class_folders_with_names_beside(make_folder, tmp_path, inside):
    counts = {f"{inside}{part}/{one}": 4 for part in ("train", "val") for one in ("n01440764", "n01443537")}
    root = make_folder(counts, size=(80, 70), ending=".JPEG", name="root")
    (root / inside / "LOC_synset_mapping.txt").write_text("n01440764 tench, Tinca tinca\nn01443537 goldfish\n")
    (root / inside / "ILSVRC2012_img_val.tar").touch()
    data = open_set("imagenet", root)
    assert (data.name, data.image_size, data.classes) == ("imagenet", 224, ("tench, Tinca tinca", "goldfish"))
    assert (len(data.train), len(data.val), len(data.test)) == (6, 2, 8)
    assert data.mean == (0.485, 0.456, 0.406)
    assert torch.equal(load(DataSettings(name=str(root / inside))).train.rows, data.train.rows)
    with pytest.raises(DocendoError, match=r"^imagenet is neither in \S+ nor in \S+, and cannot be fetched from here"):
        open_set("imagenet", tmp_path)

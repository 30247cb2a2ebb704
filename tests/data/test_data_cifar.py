import hashlib
import pickle
from urllib.error import URLError

import numpy as np
import pytest
import torch
from torchvision import datasets

from docendo.data import DataSettings, Shift, load
from docendo.errors import DocendoError

MEAN_STD = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
}
READERS = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Write a few random images in torchvision's layout and let their checksums pass."""

    def write(name):
        reader = READERS[name]
        folder = tmp_path / reader.base_folder
        folder.mkdir()
        random = np.random.default_rng(0)
        classes = 10 if name == "cifar10" else 100

        def dump(file, content):
            data = pickle.dumps(content)
            (folder / file).write_bytes(data)
            return hashlib.md5(data).hexdigest()

        for attribute in ("train_list", "test_list"):
            entries = []
            for file, _ in getattr(reader, attribute):
                labels = np.arange(classes).repeat(2).tolist()
                pixels = random.integers(0, 256, (len(labels), 3072), dtype=np.uint8)
                content = {"data": pixels, "labels" if name == "cifar10" else "fine_labels": labels}
                entries.append([file, dump(file, content)])
            monkeypatch.setattr(reader, attribute, entries)
        meta = dict(reader.meta)
        meta["md5"] = dump(meta["filename"], {meta["key"]: [f"class {i}" for i in range(classes)]})
        monkeypatch.setattr(reader, "meta", meta)
        return folder

    return write


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_torchvisions_layout_is_read(fake, tmp_path, name):
    folder = fake(name)
    data = load(DataSettings(name=name, root=str(tmp_path), validation=0.2))
    assert (data.name, data.channels, data.image_size, data.crop_ratio) == (name, 3, 32, 1.0)
    assert (data.mean, data.std) == MEAN_STD[name]
    assert data.augmentation == Shift(4, True, "zero")
    assert data.classes[-1] == f"class {len(data.classes) - 1}"
    assert (len(data.train) + len(data.val), len(data.test)) == ((100, 20) if name == "cifar10" else (200, 200))
    first = pickle.loads((folder / READERS[name].test_list[0][0]).read_bytes())["data"][0]
    expected = torch.from_numpy(first).view(3, 32, 32)
    assert torch.equal(data.test.store.pixels[0].permute(2, 0, 1), expected)


def test_another_size_can_be_asked_for(fake, tmp_path):
    fake("cifar10")
    data = load(DataSettings(name="cifar10", root=str(tmp_path), image_size=16))
    assert data.test.store.pixels.shape == (20, 16, 16, 3)
    assert data.augmentation == Shift(2, True, "zero")


def test_a_missing_set_is_answered_with_the_folder_and_the_cure(tmp_path):
    folder = tmp_path / "cifar-100-python"
    with pytest.raises(DocendoError, match=rf"^cifar100 is not in {folder}: add --download .* --root$"):
        load(DataSettings(name="cifar100", root=str(tmp_path)))


def test_a_damaged_set_is_refused(fake, tmp_path):
    folder = fake("cifar10")
    (folder / "data_batch_3").write_bytes(b"broken")
    with pytest.raises(DocendoError, match=rf"^cifar10 in {folder} is incomplete or damaged .*--download"):
        load(DataSettings(name="cifar10", root=str(tmp_path)))


def test_a_download_that_fails_says_why(tmp_path, monkeypatch):
    def no_network(*arguments, **more):
        raise URLError("no network")

    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", no_network)
    with pytest.raises(DocendoError, match=r"could not fetch cifar10 into .*no network.*connection"):
        load(DataSettings(name="cifar10", root=str(tmp_path), download=True))


def test_what_is_there_is_not_fetched_again(fake, tmp_path, monkeypatch):
    fake("cifar10")
    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", None)
    assert len(load(DataSettings(name="cifar10", root=str(tmp_path), download=True)).test) == 20

"""Weights files come back exactly, or are refused with one clear line; nothing in them is run."""

import argparse
import os
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

import docendo
from docendo.errors import DocendoError
from docendo.networks import NetworkSpec, StagedNetwork, create, load, read, save

DIGITS: dict[str, Any] = {"class_names": list("0123456789"), "mean": [0.3], "std": [0.4], "role": "student"}


def _digits() -> StagedNetwork:
    network = create("resnet8", classes=10, channels=1, image_size=8)
    network(torch.randn(4, 1, 8, 8))
    return network


def _same(one: StagedNetwork, two: StagedNetwork) -> bool:
    a, b = one.state_dict(), two.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def _refused(action: Any, message: str) -> None:
    with pytest.raises(DocendoError) as error:
        action()
    assert str(error.value) == message


def test_round_trip_is_exact(tmp_path: Path) -> None:
    network = _digits().to(memory_format=torch.channels_last)
    path = tmp_path / "student.safetensors"
    save(network, path, **DIGITS, accuracy=0.5, note="é")
    found = read(path)
    assert _same(found.network, network)
    assert found.network.spec == network.spec == NetworkSpec("resnet8", 10, 1, 8)
    assert (found.class_names, found.mean, found.std) == (tuple("0123456789"), (0.3,), (0.4,))
    assert (found.role, found.version) == ("student", docendo.__version__)
    assert found.extra == {"accuracy": 0.5, "note": "é"}
    assert _same(load(path), network)
    assert _same(create("resnet8", classes=10, channels=1, image_size=8, weights=path), network)
    images = torch.randn(2, 1, 8, 8)
    assert torch.equal(
        load(path).eval()(images).logits, network.to(memory_format=torch.contiguous_format).eval()(images).logits
    )


def test_what_is_not_known_is_none(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save(_digits(), path, class_names=None, mean=None, std=None, role=None)
    found = read(path)
    assert (found.class_names, found.mean, found.std, found.role) == (None, None, None, None)


def test_another_image_size_may_be_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save(_digits(), path, **DIGITS)
    assert create("resnet8", classes=10, channels=1, image_size=16, weights=path).spec.image_size == 16


def test_a_failed_save_keeps_the_earlier_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "net.safetensors"
    network = _digits()
    save(network, path, **DIGITS)

    def full(_: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DocendoError, match="No space left on device; the file that was there is intact"):
        save(_digits(), path, **DIGITS)
    assert _same(load(path), network)


@pytest.mark.parametrize(
    ("what", "wanted", "got"), [("class_names", 10, ["a"]), ("mean", 1, [0.5, 0.5, 0.5]), ("std", 1, [])]
)
def test_metadata_must_fit_the_network(tmp_path: Path, what: str, wanted: int, got: list[Any]) -> None:
    path = tmp_path / "net.safetensors"
    message = f"{path}: resnet8 needs {wanted} values of {what}, got {len(got)}"
    _refused(lambda: save(_digits(), path, **{**DIGITS, what: got}), message)
    assert not path.exists()


@pytest.mark.parametrize("name", ["resnet8", "resnet32x4", "wrn_16_2"])
@pytest.mark.parametrize(
    ("wrapper", "prefix"), [("model", ""), ("state_dict", "module."), (None, "module."), (None, "")]
)
def test_files_of_older_projects(tmp_path: Path, name: str, wrapper: str | None, prefix: str) -> None:
    network = create(name, classes=12, channels=1)
    state = {prefix + key: value for key, value in network.state_dict().items()}
    options = argparse.Namespace(learning_rate=0.05, lr_decay_epochs=[150, 180, 210])
    path = tmp_path / f"{name}_last.pth"
    torch.save({"opt": options, wrapper: state, "accuracy": torch.tensor(0.7)} if wrapper else state, path)
    found = read(path)
    assert (found.network.spec.architecture, found.network.spec.classes, found.network.spec.channels) == (name, 12, 1)
    assert _same(found.network, network)
    assert (found.class_names, found.mean, found.version) == (None, None, None)
    assert _same(create(name, classes=12, channels=1, weights=path), network)


def test_the_older_format_of_torch_and_plain_safetensors(tmp_path: Path) -> None:
    network = create("wrn_16_1", classes=5)
    torch.save({"model": network.state_dict()}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    safetensors.torch.save_file(network.state_dict(), tmp_path / "plain.safetensors")
    for name in ("old.pth", "plain.safetensors"):
        found = load(tmp_path / name)
        assert found.spec.architecture == "wrn_16_1"
        assert _same(found, network)


def test_a_network_outside_the_list_loads_under_its_name(tmp_path: Path) -> None:
    network = create("wrn_10_3", classes=5)
    torch.save(network.state_dict(), tmp_path / "net.pth")
    assert _same(create("wrn_10_3", classes=5, weights=tmp_path / "net.pth"), network)


def test_no_such_file(tmp_path: Path) -> None:
    path = tmp_path / "none.pth"
    _refused(lambda: load(path), f"cannot read the weights file {path}: No such file or directory")
    _refused(lambda: load(tmp_path), f"cannot read the weights file {tmp_path}: Is a directory")


def test_not_a_weights_file(tmp_path: Path) -> None:
    path = tmp_path / "notes.pth"
    path.write_text("hello there")
    message = (
        f"{path} is not a weights file (neither .safetensors nor what torch.save writes; it begins with b'hello the'): "
        "give a file that docendo or torch.save wrote"
    )
    _refused(lambda: load(path), message)


@pytest.mark.parametrize("keep", [0.3, 0.9])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".old.pth"])
def test_truncated(tmp_path: Path, suffix: str, keep: float) -> None:
    path = tmp_path / f"net{suffix}"
    if suffix == ".safetensors":
        save(_digits(), path, **DIGITS)
    else:
        torch.save(_digits().state_dict(), path, _use_new_zipfile_serialization=suffix == ".pth")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(DocendoError) as error:
        load(path)
    start, end = str(error.value).split(" bytes; ")
    assert start == f"{path} is damaged or was not written to its end ({path.stat().st_size}"
    assert end.endswith("): copy or download it again, or write it again")
    assert "\n" not in end


def test_damaged_description(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    safetensors.torch.save_file(_digits().state_dict(), path, metadata={"docendo": '{"architecture": "resnet8"}'})
    with pytest.raises(DocendoError, match="is damaged or was not written to its end"):
        load(path)


class Malicious:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("it_ran",)


def test_code_is_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.pth"
    torch.save({"model": _digits().state_dict(), "opt": Malicious()}, path)
    message = (
        f"{path} holds more than weights (posix.mkdir), which could run code, so it was refused and nothing in it was "
        "run: save only the state dict, torch.save(network.state_dict(), ...), where it came from"
    )
    _refused(lambda: load(path), message)
    assert not (tmp_path / "it_ran").exists()


def test_a_whole_pickled_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "whole.pth"
    torch.save(torch.nn.Linear(2, 2), path)
    with pytest.raises(DocendoError, match=r"holds more than weights \(torch.nn.modules.linear.Linear\)"):
        load(path)


def test_no_state_dict(tmp_path: Path) -> None:
    path = tmp_path / "log.pth"
    torch.save({"epoch": 3, "loss": 0.5}, path)
    message = f'{path} has no state dict: looked for named tensors, at the top or under "model" or "state_dict"; found '
    _refused(lambda: load(path), message + "epoch, loss")
    torch.save([1, 2], path)
    _refused(lambda: load(path), message + "list")


@pytest.mark.usefixtures("only_our_networks")
def test_unknown_architecture_of_a_plain_file(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    state = create("resnet20", classes=10).state_dict()
    state["extra.weight"] = torch.zeros(1)
    del state["bn1.running_var"], state["bn1.bias"]
    count = len(state)
    torch.save({"model": state}, path)
    message = (
        f"{path}: no network in the catalog has exactly its {count} tensors; nearest is resnet20, but "
        "missing bn1.bias, bn1.running_var; left over extra.weight"
    )
    _refused(lambda: load(path), message)
    message = f"{path} does not fit resnet20 for 10 classes of RGB images: "
    _refused(
        lambda: create("resnet20", classes=10, weights=path),
        message + "missing bn1.bias, bn1.running_var; left over extra.weight",
    )
    torch.save({"a": torch.zeros(3)}, path)
    message = (
        f"{path}: no network in the catalog has exactly its 1 tensors; nearest is vgg8, but missing block0.0.bias, "
        "block0.0.weight, block0.1.bias and 34 more; left over a"
    )
    _refused(lambda: load(path), message)


def test_many_differences_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    state = {k: v for k, v in create("resnet20", classes=10).state_dict().items() if "layer3.2" not in k}
    torch.save(state, path)
    with pytest.raises(DocendoError) as error:
        load(path)
    assert str(error.value).endswith(
        "nearest is resnet20, but missing layer3.2.bn1.bias, layer3.2.bn1.num_batches_tracked, "
        "layer3.2.bn1.running_mean and 9 more"
    )


def test_unknown_architecture_of_a_docendo_file(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    network = _digits()
    network.spec = NetworkSpec("resnet9", 10, 1, 8)
    save(network, path, **DIGITS)
    message = (
        f'{path}: unknown network "resnet9": did you mean "resnet8"?; make a network of your own known by '
        "docendo.networks.register before reading its weights"
    )
    _refused(lambda: load(path), message)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_of_another_network(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"net{suffix}"
    network = create("resnet20", classes=100)
    if suffix == ".pth":
        torch.save(network.state_dict(), path)
    else:
        save(network, path, class_names=None, mean=None, std=None, role=None)
    held = f"{path} holds resnet20 for 100 classes of RGB images, but "
    cure = " was asked for: name the network of the file, or give the file alone"
    _refused(
        lambda: create("resnet8", classes=100, weights=path), held + "resnet8 for 100 classes of RGB images" + cure
    )
    _refused(
        lambda: create("resnet20", classes=10, weights=path), held + "resnet20 for 10 classes of RGB images" + cure
    )
    _refused(
        lambda: create("resnet20", classes=100, channels=1, weights=path),
        held + "resnet20 for 100 classes of grey images" + cure,
    )


def test_a_docendo_file_whose_tensors_belie_its_description(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    network = _digits()
    network.fc = torch.nn.Linear(64, 3)
    save(network, path, **DIGITS)
    _refused(
        lambda: load(path),
        f"{path} does not fit resnet8 for 10 classes of grey images: fc.bias has shape (3,) instead of (10,)",
    )

"""A weights file is read as what it is, however long its header."""

from pathlib import Path

from docendo.networks import create, read, save


def test_no_length_of_the_header_makes_it_a_pickle(tmp_path: Path) -> None:
    network = create("resnet8", classes=2)
    path, firsts = tmp_path / "a.safetensors", set()
    for length in range(0, 256, 8):
        save(network, path, class_names=None, mean=(0.5,) * 3, std=None, role=None, more="x" * length)
        firsts.add(path.read_bytes()[0])
        assert read(path).mean == (0.5,) * 3
    assert 0x80 in firsts

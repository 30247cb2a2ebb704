"""Images of every kind: each is read as what it shows, or refused or left out by its path."""

import struct

import numpy as np
import pytest
import torch
from PIL import Image

from docendo.data import DataSettings, load, prepare, read_image
from docendo.errors import DocendoError
from tests.data.conftest import encoded


def load_path(path, **settings):
    return load(DataSettings(name=str(path), **settings))


def ramp(width=40, height=30):
    """A picture that grows brighter to the right and whose upper half is half as bright."""
    values = np.linspace(0, 255, width)[None] * np.where(np.arange(height) < height // 2, 0.5, 1)[:, None]
    return Image.fromarray(values.round().astype(np.uint8))


def files():
    """Give image files that show the ramp, in every way that is used."""
    grey = ramp()
    colour = grey.convert("RGB")
    values = np.asarray(grey)
    clear = colour.convert("RGBA")
    clear.putalpha(128)
    yield "grey.png", encoded(grey, "PNG")
    yield "grey alpha.png", encoded(clear.convert("LA"), "PNG")
    yield "RGBA.png", encoded(clear, "PNG")
    yield "palette.png", encoded(grey.convert("P"), "PNG")
    yield "palette with transparency.png", encoded(grey.convert("P"), "PNG", transparency=3)
    yield "palette.gif", encoded(grey, "GIF")
    yield "animated.gif", encoded(grey, "GIF", save_all=True, append_images=[Image.new("L", grey.size)] * 3)
    yield "animated.webp", encoded(colour, "WEBP", save_all=True, append_images=[clear], lossless=True)
    yield "CMYK.jpg", encoded(colour.convert("CMYK"), "JPEG", quality=98)
    yield "CMYK.tif", encoded(colour.convert("CMYK"), "TIFF")
    yield "YCbCr.jpeg", encoded(colour, "JPEG", quality=98)
    yield "16 bits.png", encoded(Image.fromarray(values.astype(np.uint16) * 257), "PNG")
    yield "16 bits.tif", encoded(Image.fromarray(values.astype(np.uint16) * 257), "TIFF")
    yield "16 bits.pgm", b"P5 40 30 65535\n" + (values.astype(np.uint16) * 257).astype(">u2").tobytes()
    yield "32 bits.tif", encoded(Image.fromarray(values.astype(np.int32) * 257), "TIFF")
    yield "float.tif", encoded(Image.fromarray(values.astype(np.float32) / 255), "TIFF")
    yield "Lab.tif", encoded(colour.convert("LAB"), "TIFF")
    yield "wrong ending.jpg", encoded(grey, "PNG")
    yield "wrong ending.png", encoded(grey, "JPEG", quality=98)
    yield "Grüße 猫 🐈.bmp", encoded(colour, "BMP")
    for number, turn in enumerate(
        ("", "FLIP_LEFT_RIGHT", "ROTATE_180", "FLIP_TOP_BOTTOM", "TRANSPOSE", "ROTATE_90", "TRANSVERSE", "ROTATE_270"),
        1,
    ):
        exif = Image.Exif()
        exif[0x0112] = number
        turned = grey.transpose(Image.Transpose[turn]) if turn else grey
        yield f"EXIF {number}.jpg", encoded(turned, "JPEG", quality=98, exif=exif)


FILES = dict(files())


@pytest.mark.parametrize("name", FILES)
def test_every_kind_is_read_as_what_it_shows(name, tmp_path):
    path = tmp_path / name
    path.write_bytes(FILES[name])
    image = read_image(path)
    assert image.mode in ("L", "RGB")
    for channels in (1, 3):
        difference = prepare(image, channels, 30).int() - prepare(ramp(), channels, 30).int()
        assert int(difference.abs().max()) <= 4


def refused():
    whole = encoded(ramp(), "PNG")
    yield "zero bytes.png", b"", "the file is empty (0 bytes)"
    yield "truncated.jpg", encoded(ramp(400, 300), "JPEG")[:-900], "truncated"
    yield "truncated.png", whole[: len(whole) // 2], "truncated"
    yield "text.jpg", b"not an image", "not an image in a format that Pillow reads"
    yield "half a header.png", whole[:20], ""
    yield "no pixels.png", whole.replace(struct.pack(">II", 40, 30), struct.pack(">II", 0, 0)), ""
    yield "negative.tif", encoded(Image.fromarray(np.array([[-1, 5]], dtype=np.int32)), "TIFF"), "go from -1 to 5"
    yield "24 bits.tif", encoded(Image.fromarray(np.array([[0, 2**24]], dtype=np.int32)), "TIFF"), "0 to 65535"
    yield (
        "float 255.tif",
        encoded(Image.fromarray(np.array([[0, 255.0]], np.float32)), "TIFF"),
        "from 0 to 255, but 0 to 1",
    )
    yield "no number.tif", encoded(Image.fromarray(np.array([[0, np.nan]], np.float32)), "TIFF"), "from nan to nan"


REFUSED = {name: (content, reason) for name, content, reason in refused()}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused_with_its_path(name, tmp_path):
    path = tmp_path / name
    path.write_bytes(REFUSED[name][0])
    with pytest.raises(DocendoError) as caught:
        read_image(path)
    assert str(caught.value).startswith(f"cannot read {path}: ")
    assert REFUSED[name][1] in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.fixture
def awkward(tmp_path):
    """Write all of them into two class folders, with sizes from 1x1 to 6000x4000 and links in a circle."""
    root = tmp_path / "awkward"
    for name in ("brightness 明", "plain"):
        (root / name).mkdir(parents=True)
    for i, (name, content) in enumerate(FILES.items()):
        (root / ("plain" if i % 2 else "brightness 明") / name).write_bytes(content)
    plain = root / "plain"
    Image.new("RGB", (1, 1), "red").save(plain / "1x1.png")
    Image.new("L", (1, 3000), 7).save(plain / "1x3000.png")
    ramp(6000, 4000).save(plain / "6000x4000.jpg")
    (plain / "circle").symlink_to(root)
    (plain / "self").symlink_to(plain / "self")
    (plain / "inner").mkdir()
    (plain / "inner" / "back").symlink_to(plain)
    (plain / "linked.png").symlink_to(plain / "1x1.png")
    bad = root / "brightness 明"
    for name, (content, _) in REFUSED.items():
        (bad / name).write_bytes(content)
    (bad / "circle.png").symlink_to(bad / "circle.png")
    (bad / "nowhere.png").symlink_to(bad / "nothing.png")
    return root


def bad_names():
    return {*REFUSED, "circle.png", "nowhere.png"}


@pytest.mark.parametrize("memory", ["device", "stream"])
def test_an_awkward_folder_is_refused_or_read_without_what_is_broken(awkward, memory):
    settings = {"memory": memory, "workers": 1, "image_size": 32}
    count = len(FILES) + 4 + len(bad_names())
    if memory == "device":
        with pytest.raises(DocendoError) as caught:
            load_path(awkward, **settings)
        assert str(caught.value).startswith(
            f"cannot read {len(bad_names())} of {count} images: {awkward}/brightness 明/"
        )
        assert str(caught.value).endswith("--skip-corrupt (skip_corrupt=True)")
    data = load_path(awkward, skip_corrupt=True, **settings)
    note = data.notes[-1]
    assert note.startswith(
        f"left out what cannot be read, {len(bad_names())} of {count} images: {awkward}/brightness 明/"
    )
    assert note.endswith(f"; and {len(bad_names()) - 3} more")
    splits = [data.train, data.val, data.test]
    seen = [split.where(i).rsplit("/", 1)[1] for split in splits for i in range(len(split))]
    assert sorted(seen) == sorted([*FILES, "1x1.png", "1x3000.png", "6000x4000.jpg", "linked.png"])
    for split in splits:
        batches = list(split.batches(9, table=split.epoch(0, "x", 0)))
        assert all(bool(batch.images.isfinite().all()) for batch in [*batches, *split.batches(9)])


def test_streamed_images_are_refused_when_their_turn_comes(awkward):
    data = load_path(awkward, memory="stream", workers=1, image_size=32)
    with pytest.raises(DocendoError, match=rf"^cannot read {awkward}/brightness 明/[^\n]*$"):
        list(data.train.batches(9, table=data.train.epoch(0, "x", 0)))


def test_what_is_left_out_moves_no_other_image(make_folder):
    root = make_folder({"cat": 20, "dog": 20})
    before = load_path(root)
    gone = before.train.where(3)
    with open(gone, "wb"):
        pass
    for memory in ("device", "stream"):
        after = load_path(root, skip_corrupt=True, memory=memory)
        rows = before.train.rows.tolist()
        assert after.train.rows.tolist() == rows[:3] + rows[4:]
        assert after.train.labels.tolist() == before.train.labels.tolist()[:3] + before.train.labels.tolist()[4:]
        assert torch.equal(after.test.rows, before.test.rows)
        assert after.notes[-1] == f"left out what cannot be read, 1 of 40 images: {gone}: the file is empty (0 bytes)"
        assert after.fingerprint != before.fingerprint
    for i in range(len(before.val)):
        with open(before.val.where(i), "wb"):
            pass
    with pytest.raises(DocendoError, match=r"^no image of the val split can be read: 5 of 40 images: "):
        load_path(root, skip_corrupt=True)


def test_the_mean_is_that_of_images_that_can_be_read(make_folder):
    root = make_folder({"cat": 20, "dog": 20})
    data = load_path(root)
    first, last = data.train.where(0), data.train.where(len(data.train) - 1)
    for path in (first, last):
        Image.new("RGB", (12, 12), "white").save(path)
    with_white = load_path(root)
    for path in (first, last):
        with open(path, "wb"):
            pass
    without = load_path(root, skip_corrupt=True)
    offered = len(without.train) + len(without.val)
    expected = (with_white.mean[0] * (offered + 2) - 2) / offered
    assert without.mean[0] == pytest.approx(expected)


def test_a_class_folder_that_is_a_circle_is_refused(make_folder):
    root = make_folder({"cat": 5, "dog": 5})
    (root / "loop").symlink_to(root)
    with pytest.raises(DocendoError, match=rf"^{root}/loop is a link to {root}, in which it lies: remove it$"):
        load_path(root)


def test_linked_folders_are_followed_once(make_folder, tmp_path):
    root = make_folder({"cat": 5, "dog": 5})
    shared = make_folder({"tabby": 3}, name="shared")
    (shared / "tabby" / "again").symlink_to(shared)
    (root / "cat" / "first").symlink_to(shared)
    (root / "cat" / "second").symlink_to(shared)
    (root / "cow").symlink_to(shared / "tabby")
    data = load_path(root, validation=0)
    labels = torch.cat([data.train.labels, data.test.labels])
    assert torch.bincount(labels).tolist() == [8, 3, 5]


def test_names_that_are_no_unicode_are_shown_and_no_class(make_folder):
    root = make_folder({"cat": 5, "dog": 5})
    with open(bytes(root) + b"/cat/\xff.png", "wb"):
        pass
    with pytest.raises(DocendoError, match=r"cat/\\udcff.png: the file is empty") as caught:
        load_path(root)
    str(caught.value).encode("utf-8")
    (root / "cow").mkdir()
    (root / "cow").rename(root / "caf\udce9")
    with pytest.raises(DocendoError, match=r"^the name of the class folder \S*/caf\\udce9 is not valid Unicode"):
        load_path(root)


def test_huge_photographs_are_decoded_smaller_and_look_the_same(make_image):
    photo = make_image(0, (60, 40)).resize((3000, 2000), Image.Resampling.BICUBIC)
    data = encoded(photo, "JPEG", quality=95)
    whole, small = read_image(data), read_image(data, short_side=256)
    assert (whole.size, small.size) == ((3000, 2000), (1500, 1000))
    difference = (prepare(whole, 3, 224, 8 / 7).int() - prepare(small, 3, 224, 8 / 7).int()).abs().float()
    assert float(difference.mean()) < 0.5
    assert int(difference.max()) <= 6

import numpy as np
import pytest
import torch
from PIL import Image

from docendo.data import prepare, read_image
from docendo.data.images import convert
from docendo.errors import DocendoError

FORMS = {
    "png": ("PNG", {}),
    "jpeg": ("JPEG", {}),
    "progressive jpeg": ("JPEG", {"progressive": True}),
    "webp": ("WEBP", {}),
    "gif": ("GIF", {}),
    "bmp": ("BMP", {}),
    "tiff": ("TIFF", {"compression": "tiff_lzw"}),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_truncated_image_is_refused_and_never_filled_up(form, make_image, encode):
    name, options = FORMS[form]
    data = encode(make_image(1, (40, 30)), name, **options)
    whole = np.asarray(read_image(data))
    refused = 0
    for length in [*range(1, len(data), max(1, len(data) // 60)), *range(len(data) - 12, len(data))]:
        try:
            read = read_image(data[:length])
        except DocendoError:
            refused += 1
        else:  # a file may lack its end mark and still hold every pixel
            assert np.array_equal(np.asarray(read), whole)
    assert refused >= 60


def test_errors_name_the_file(tmp_path):
    empty, text, missing = tmp_path / "empty.png", tmp_path / "text.jpg", tmp_path / "missing.png"
    empty.touch()
    text.write_text("a cat")
    for path, reason in (
        (empty, r"the file is empty \(0 bytes\)"),
        (text, "not an image in a format that Pillow reads"),
        (missing, "No such file or directory"),
    ):
        with pytest.raises(DocendoError, match=f"^cannot read {path}: {reason}$"):
            read_image(path)
    with pytest.raises(DocendoError, match=r"^cannot read x.parquet row 3: the file is empty"):
        read_image(b"", "x.parquet row 3")


def test_a_wrong_first_guess_of_the_format_does_no_harm(make_image, encode):
    wave = b"RIFF\x24\x00\x00\x00WAVEfmt "
    with pytest.raises(DocendoError, match="not an image"):
        read_image(wave)
    assert read_image(encode(make_image(0), "WEBP")).size == (12, 12)


def test_every_mode_becomes_grey_or_rgb(make_image, encode):
    colour = make_image(0)
    grey = colour.convert("L")
    palette = colour.quantize(8)
    clear = palette.copy()
    clear.info["transparency"] = bytes(range(8))
    for image in (colour, grey, palette, clear, grey.convert("1"), grey.convert("LA"), colour.convert("RGBA")):
        for channels, mode in ((1, "L"), (3, "RGB")):
            converted = convert(read_image(encode(image)), channels)
            assert converted.mode == mode
            assert prepare(converted, channels, 6).shape == (channels, 6, 6)
    assert np.array_equal(convert(colour.convert("RGBA"), 3), colour)
    assert np.array_equal(convert(grey, 3), np.stack([grey] * 3, axis=-1))
    assert np.array_equal(convert(clear, 3), palette.convert("RGB"))
    assert convert(read_image(encode(colour.convert("CMYK"), "JPEG")), 3).mode == "RGB"


def test_16_bits_are_scaled_to_8_and_not_clipped(encode):
    deep = Image.fromarray(np.array([[0, 255, 256, 65535]], dtype=np.uint16))
    assert np.asarray(convert(read_image(encode(deep)), 1)).tolist() == [[0, 0, 1, 255]]


def test_photographs_are_turned_upright(make_image, encode):
    exif = Image.Exif()
    exif[0x0112] = 6
    assert read_image(encode(make_image(0, (20, 10)), exif=exif)).size == (10, 20)


def test_prepare_scales_the_middle_square_and_cuts_out_its_centre(make_image):
    image = make_image(0, (90, 70))
    scaled = image.resize((64, 64), Image.Resampling.BILINEAR, box=(10, 0, 80, 70))
    expected = torch.from_numpy(np.array(scaled))[4:60, 4:60].permute(2, 0, 1)
    assert torch.equal(prepare(image, 3, 56, 8 / 7), expected)
    same = make_image(0, (8, 8))
    assert np.array_equal(prepare(same, 3, 8).permute(1, 2, 0), same)

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ovdiff import read_image
from ovdiff.errors import ImageError
from ovdiff.images import read_mask, read_stored_image
from tests.fakes.pictures import encoded

GREY = np.arange(48, dtype=np.uint8).reshape(6, 8)
RGB = np.stack([GREY, GREY + 50, GREY + 100], axis=2)


def _file(folder: Path, image: Image.Image, name: str = "a.png", **options: Any) -> Path:
    image.save(folder / name, **options)
    return folder / name


def test_a_path_a_picture_and_an_array_are_the_same_image(tmp_path: Path) -> None:
    path = _file(tmp_path, Image.fromarray(RGB))
    for given in (path, str(path), Image.fromarray(RGB), RGB):
        read = read_image(given)
        assert read.dtype == np.uint8
        np.testing.assert_array_equal(read, RGB)
    assert read_image(RGB) is RGB


@pytest.mark.parametrize("as_file", [True, False])
def test_files_and_pictures_are_turned_upright(tmp_path: Path, as_file: bool) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # held so that the picture must be turned by 90 degrees to the right
    path = _file(tmp_path, Image.fromarray(RGB), exif=exif)
    expected = np.rot90(RGB, -1)
    if as_file:
        np.testing.assert_array_equal(read_image(path), expected)
    else:
        with Image.open(path) as image:
            np.testing.assert_array_equal(read_image(image), expected)


@pytest.mark.parametrize("as_picture", [True, False])
def test_grey_and_sixteen_bits_and_transparency_become_rgb(as_picture: bool) -> None:
    grey = np.repeat(GREY[:, :, None], 3, axis=2)
    transparent = np.dstack([RGB, np.full_like(GREY, 255)])
    transparent[0] = (9, 9, 9, 0)
    on_white = RGB.copy()
    on_white[0] = 255
    for given, expected in ((GREY, grey), (GREY.astype(np.uint16) * 257, grey), (transparent, on_white)):
        np.testing.assert_array_equal(read_image(Image.fromarray(given) if as_picture else given), expected)


def test_a_palette_picture_becomes_the_colours_that_it_shows(tmp_path: Path) -> None:
    picture = Image.fromarray(GREY % 2)
    picture.putpalette([10, 20, 30, 200, 100, 50])
    expected = np.array([(10, 20, 30), (200, 100, 50)])[GREY % 2]
    np.testing.assert_array_equal(read_image(picture), expected)
    np.testing.assert_array_equal(read_image(_file(tmp_path, picture)), expected)


def test_a_view_of_an_array_is_read_too() -> None:
    doubled = np.repeat(GREY, 2, axis=1)
    np.testing.assert_array_equal(read_image(doubled[:, ::2])[:, :, 0], GREY)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (RGB.astype(np.float32) / 255, r"got float32 \(6, 8, 3\). Of values from 0 to 1, make \(array \* 255\)"),
        (RGB.transpose(2, 0, 1), r"got uint8 \(3, 6, 8\). Its channels come first: give array.transpose\(1, 2, 0\)"),
        (RGB[None], "Give one image at a time"),
        (GREY[:, :, None], r"Give array\[:, :, 0\]"),
        (GREY > 9, r"got bool \(6, 8\). This is a mask; give the image"),
        (RGB.astype(np.int64), r"got int64 \(6, 8, 3\). Convert it first"),
        (np.zeros((0, 8, 3), np.uint8), r"The image has no pixels: its shape is \(0, 8, 3\)"),
        (np.zeros((1, 100_000_001), np.uint8), "100000001 x 1 pixels, more than 100000000. Make it smaller"),
        (Image.new("F", (4, 4)), "The image cannot be used: its pixels are floating-point numbers.*Save it anew"),
        (Image.new("RGB", (0, 4)), "The image has no pixels: it is 0 x 4 px"),
        (encoded(RGB), r"got bytes. Of bytes, make PIL.Image.open\(io.BytesIO\(data\)\)"),
        (None, "got NoneType"),
        ("https://example.org/boat.jpg", "'https://example.org/boat.jpg' is an address.*Download it first"),
    ],
)
def test_what_is_no_image_says_what_to_do(image: Any, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        read_image(image)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"baot.png' does not exist; correct its path \(the current folder is"):
        read_image(tmp_path / "baot.png")
    with pytest.raises(ImageError, match="is a folder; give the path of one image"):
        read_image(tmp_path)


def test_broken_and_foreign_files_are_named(tmp_path: Path) -> None:
    broken, foreign = tmp_path / "broken.png", tmp_path / "notes.png"
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    broken.write_bytes(encoded(noise)[:2000])
    foreign.write_text("hello")
    with pytest.raises(ImageError, match=r"broken.png' cannot be used: .*truncated"):
        read_image(broken)
    with pytest.raises(ImageError, match=r"notes.png' is no picture in one of JPEG, PNG.*Convert it"):
        read_image(foreign)


def test_a_picture_in_memory_needs_no_file() -> None:
    with Image.open(io.BytesIO(encoded(RGB))) as image:
        np.testing.assert_array_equal(read_image(image), RGB)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "I;16"])
def test_a_mask_is_read_from_a_png_of_any_kind(mode: str, tmp_path: Path) -> None:
    mask = GREY % 3 == 0
    picture = Image.fromarray(mask.astype(np.uint8) * (1 if mode == "P" else 255))
    written = Image.fromarray(mask.astype(np.uint16) * 65535) if mode == "I;16" else picture.convert(mode)
    if mode == "P":
        written = picture
        written.putpalette([0, 0, 0, 9, 9, 9])
    found = read_mask(_file(tmp_path, written))
    assert found.dtype == np.bool_ and (found == mask).all()


@pytest.mark.parametrize(
    ("pixels", "said"),
    [
        (
            GREY,
            r"has 48 values \(0, 1, 2, 3, 4, 5 and more\); expected two, of which one is 0: every pixel",
        ),
        (GREY % 2 + 1, r"has 2 values \(1, 2\); expected two"),
        (RGB, "has colours or is transparent. Save it as a grey PNG with 255"),
        (np.zeros((4, 4, 4), np.uint8), "has colours or is transparent"),
    ],
)
def test_a_mask_of_which_nobody_knows_what_is_foreground_is_refused(pixels: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=said):
        read_mask(_file(tmp_path, Image.fromarray(pixels)))


def test_a_mask_that_is_no_png_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="cannot be read as a PNG"):
        read_mask(_file(tmp_path, Image.fromarray(GREY), "a.jpg"))
    with pytest.raises(ImageError, match="cannot be read as a PNG"):
        read_mask(tmp_path / "absent.png")
    path = _file(tmp_path, Image.fromarray(GREY % 2))
    path.write_bytes(path.read_bytes()[:45])
    with pytest.raises(ImageError, match="cannot be read as a PNG"):
        read_mask(path)
    assert read_mask(_file(tmp_path, Image.fromarray(GREY * 0 + 7))).all()


def test_a_benchmarks_image_is_not_turned_by_its_exif_orientation(tmp_path: Path) -> None:
    path = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("CMYK", (8, 6), (0, 255, 255, 0)).save(path, exif=exif)
    assert read_image(path).shape == (8, 6, 3)
    stored = read_stored_image(path)
    assert stored.shape == (6, 8, 3)
    assert stored[0, 0].tolist() == pytest.approx([255, 0, 0], abs=3)


def test_a_stored_image_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"nowhere.jpg' does not exist"):
        read_stored_image(tmp_path / "nowhere.jpg")

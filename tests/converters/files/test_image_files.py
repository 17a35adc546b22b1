"""File names of addresses, and sizes of files."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from converters.errors import ImageFileError
from converters.files.image_files import find_image_file, folder_sizes, image_address, image_file_name, upright_image

ADDRESSES = [
    ("/data/upload/7/1f2e3d4c-cat%201.png", "", "1f2e3d4c-cat 1.png"),
    ("/prefix/data/upload/7/a.png", "", "a.png"),
    ("/data/local-files/?d=imgs/cat.png", "", "imgs/cat.png"),
    ("/data/local-files/?d=imgs/cat.png", "/data/local-files/?d=imgs/", "cat.png"),
    ("/data/local-files/?d=my%20imgs/cat.png", "", "my imgs/cat.png"),
    ("s3://bucket/a/cat.png", "", "a/cat.png"),
    ("s3://bucket/a/cat.png", "s3://bucket/a", "cat.png"),
    ("s3://bucket/a%20b/50%25.png", "", "a%20b/50%25.png"),
    ("azure-blob://box/a%20b/50%25.png", "azure-blob://box/a%20b/", "50%25.png"),
    ("https://example.com/pets/cat.png?size=9", "", "pets/cat.png"),
    ("/tasks/5/resolve/?fileuri=czM6Ly9idWNrZXQvYS9jYXQucG5n", "", "a/cat.png"),
    ("http://host/ls/projects/5/presign/?fileuri=Z3M6Ly9iLz8_LnBuZw%3D%3D", "gs://b/", "??.png"),
    ("/tasks/5/resolve/?fileuri=a", "", "tasks/5/resolve/"),
    ("cat.png", "", "cat.png"),
    ("cat #1.png", "", "cat #1.png"),
]


@pytest.mark.parametrize(("address", "root", "name"), ADDRESSES)
def test_an_address_becomes_a_relative_name(address: str, root: str, name: str) -> None:
    assert image_file_name(address, root) == name


@given(
    st.text(min_size=1).filter(lambda name: not name.startswith("/")),
    st.sampled_from(["/data/local-files/?d=imgs/", "http://host:8080/a/", "https://host/", "s3://bucket/"]),
)
def test_a_name_survives_as_an_address(name: str, root: str) -> None:
    address = image_address(name, root)
    assert image_file_name(address, root) == name
    assert root == "s3://bucket/" or not set(address.removeprefix(root)) & set('#?&+ "<>')


@pytest.mark.parametrize("root", ["", "s3://bucket/"])
def test_a_name_that_no_browser_asks_for_is_not_quoted(root: str) -> None:
    assert image_address("a b#1.png", root) == f"{root}a b#1.png"


def test_an_address_that_is_no_url_is_refused() -> None:
    with pytest.raises(ImageFileError, match=r"expected a path or URL of an image, got 'http://\[::1/a.png'"):
        image_file_name("http://[::1/a.png")


def test_an_address_elsewhere_is_refused() -> None:
    with pytest.raises(ImageFileError, match="expected an image address that begins with 's3://a/', got 's3://b/x'"):
        image_file_name("s3://b/x", "s3://a/")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_size_is_that_of_the_image_as_shown(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (64, 48)).save(tmp_path / "a.jpg", exif=exif)
    assert folder_sizes(tmp_path)("a.jpg") == ((48, 64) if orientation < 5 else (64, 48))


def test_a_file_that_was_uploaded_is_looked_up_under_its_own_name(tmp_path: Path) -> None:
    Image.new("RGB", (64, 48)).save(tmp_path / "cat.png")
    assert folder_sizes(tmp_path)("1f2e3d4c-cat.png") == (48, 64)


def test_what_is_outside_missing_or_no_image_has_no_size(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "outside.png")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "note.png").write_text("no image")
    size_of = folder_sizes(tmp_path / "images")
    assert [size_of(name) for name in ("../outside.png", "missing.png", "note.png", ".", "a\0b")] == [None] * 5


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_size_follows_only_the_orientations_that_are_shown(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (64, 48)).save(tmp_path / "a.tiff", exif=exif)
    Image.new("RGB", (64, 48)).save(tmp_path / "a.jpg", xmp=f'<x tiff:Orientation="{orientation}"/>'.encode())
    assert folder_sizes(tmp_path)("a.tiff") == ((48, 64) if orientation < 5 else (64, 48))
    assert folder_sizes(tmp_path)("a.jpg") == (48, 64)


@pytest.mark.parametrize(
    "damaged", [b"Exif\0\0garbage!", b"Exif\0\0", b"Exif\0\0II*\0\x08\0\0\0\x05\0", b"no Exif at all"]
)
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning:PIL")
def test_damaged_exif_leaves_a_picture_as_it_is(tmp_path: Path, damaged: bytes) -> None:
    Image.new("RGB", (64, 48)).save(tmp_path / "a.webp", exif=damaged)
    assert folder_sizes(tmp_path)("a.webp") == (48, 64)


def test_a_file_is_found_under_its_name_or_without_the_upload_s_prefix(tmp_path: Path) -> None:
    (tmp_path / "pets").mkdir()
    for name in ("cat.png", "pets/dog.png", "1f2e3d4c-cow.png"):
        (tmp_path / name).touch()
    assert find_image_file(tmp_path, "cat.png") == tmp_path / "cat.png"
    assert find_image_file(tmp_path, "1f2e3d4c-cat.png") == tmp_path / "cat.png"
    assert find_image_file(tmp_path, "pets/1f2e3d4c-dog.png") == tmp_path / "pets/dog.png"
    assert find_image_file(tmp_path, "1f2e3d4c-cow.png") == tmp_path / "1f2e3d4c-cow.png"


def test_a_file_is_found_under_the_name_that_an_upload_made_of_it(tmp_path: Path) -> None:
    for name in ("my cat (1).png", "größe #2.png", "a b.png", "a_b&.png", "c d.png"):
        (tmp_path / name).touch()
    for uploaded, name in (
        ("1f2e3d4c-my_cat_1.png", "my cat (1).png"),
        ("1f2e3d4c-größe_2.png", "größe #2.png"),
        ("1f2e3d4c-a_b.png", None),  # it may be either of two
        ("c_d.png", None),  # no upload
        ("../1f2e3d4c-c_d.png", None),
    ):
        assert find_image_file(tmp_path, uploaded) == (tmp_path / name if name else None)
    (tmp_path / ("x" * 255)).touch()
    assert find_image_file(tmp_path, "1f2e3d4c-" + "x" * 255) == tmp_path / ("x" * 255)
    (tmp_path / "new one.png").touch()
    assert find_image_file(tmp_path, "1f2e3d4c-new_one.png") == tmp_path / "new one.png"


@pytest.mark.parametrize("name", ["none.png", "pets", "../outside.png", "/etc/hostname", "a\0b", "x" * 5000, ""])
def test_what_is_no_file_of_the_folder_is_not_found(tmp_path: Path, name: str) -> None:
    (tmp_path / "images" / "pets").mkdir(parents=True)
    (tmp_path / "outside.png").touch()
    assert find_image_file(tmp_path / "images", name) is None


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_read_as_pillow_turns_it(tmp_path: Path, orientation: int) -> None:
    drawn = Image.effect_noise((5, 3), 90).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = orientation
    drawn.save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as stored:
        expected = ImageOps.exif_transpose(stored)
    assert upright_image(tmp_path / "a.png").tobytes() == expected.tobytes()
    assert upright_image(tmp_path / "a.png").size == expected.size


def test_a_png_may_tell_its_orientation_after_its_pixels(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (4, 2)).save(tmp_path / "a.png")
    told = exif.tobytes().removeprefix(b"Exif\x00\x00")
    chunk = struct.pack(">I", len(told)) + b"eXIf" + told + struct.pack(">I", zlib.crc32(b"eXIf" + told))
    data = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(data[:-12] + chunk + data[-12:])  # the last 12 bytes are IEND
    assert upright_image(tmp_path / "a.png").size == (2, 4)


def test_16_bits_and_transparency_look_as_on_a_page(tmp_path: Path) -> None:
    Image.fromarray(np.full((2, 3), 0x8080, np.uint16)).save(tmp_path / "grey.png")
    Image.new("RGBA", (3, 2), (200, 0, 0, 0)).save(tmp_path / "clear.png")
    assert upright_image(tmp_path / "grey.png").getpixel((0, 0)) == (128, 128, 128)
    assert upright_image(tmp_path / "clear.png").getpixel((0, 0)) == (255, 255, 255)


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"hello")
    with pytest.raises(ImageFileError, match=r"'a\.png' is no image that can be read"):
        upright_image(tmp_path / "a.png")

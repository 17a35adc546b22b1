"""PNGs of label maps: read as they were stored, refused before they are decoded where they are too large or foreign."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from converters.errors import PNGError
from converters.files.png import png_size, read_png, read_png_values


def saved(tmp_path: Path, image: Image.Image, suffix: str = "png") -> Path:
    path = tmp_path / f"map.{suffix}"
    image.save(path)
    return path


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def palette_picture(values: np.ndarray) -> Image.Image:
    image = Image.fromarray(values)
    image.putpalette([255 - value // 3 for value in range(768)])
    return image


def test_sixteen_bits_are_read_where_they_are_allowed(tmp_path: Path) -> None:
    values = np.array([[0, 255, 256, 65_535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    assert read_png_values(tmp_path / "a.png", ("I;16",)).tolist() == values.tolist()
    with pytest.raises(PNGError, match="expected a PNG of mode L, got I;16"):
        read_png(tmp_path / "a.png", ("L",))


def test_values_are_read_not_the_colours_they_stand_for(tmp_path: Path) -> None:
    values = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert np.array_equal(read_png(saved(tmp_path, palette_picture(values)), ("P",), (3, 4)), values)
    assert np.array_equal(read_png(saved(tmp_path, Image.fromarray(values)), ("P", "L")), values)
    rgb = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
    assert np.array_equal(read_png(saved(tmp_path, Image.fromarray(rgb)), ("RGB",)), rgb)
    assert png_size(tmp_path / "map.png") == (3, 4)


def test_another_mode_or_size_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.new("L", (4, 3)))
    with pytest.raises(PNGError, match=r"map\.png: expected a PNG of mode RGB or P, got L"):
        read_png(path, ("RGB", "P"))
    with pytest.raises(PNGError, match=r"map\.png: expected a PNG of 3x4 as its image, got 4x3"):
        read_png(path, ("L",), (4, 3))


def test_what_is_no_png_is_refused(tmp_path: Path) -> None:
    for path in (saved(tmp_path, Image.new("RGB", (4, 3)), "jpg"), tmp_path / "missing.png"):
        with pytest.raises(PNGError, match=f"{path.name}: expected a PNG, which cannot be read"):
            png_size(path)
    whole = saved(tmp_path, Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)))
    whole.write_bytes(whole.read_bytes()[:600])
    with pytest.raises(PNGError, match=r"map\.png: expected a PNG, which cannot be read"):
        read_png(whole, ("L",))


def test_a_few_bytes_that_announce_gigabytes_are_refused_by_their_header(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 0, 0, 0, 0)
    path = tmp_path / "bomb.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    with pytest.raises(PNGError, match=r"bomb\.png"):
        read_png(path, ("L",))
    small = saved(tmp_path, Image.new("L", (4, 3)))
    with pytest.raises(PNGError, match=r"map\.png: expected at most 11 pixels, got 4x3"):
        read_png(small, ("L",), max_pixels=11)
    assert read_png(small, ("L",), max_pixels=12).shape == (3, 4)

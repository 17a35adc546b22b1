"""Bitmask data URLs: round trips, what counts as inside, and hostile PNGs."""

import base64
import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from converters.encodings.bitmask import announced_size_hw, data_url_to_mask, mask_to_data_url
from converters.errors import BitmaskError, MaskError

masks = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=48))


def data_url(image: Image.Image, **options: object) -> str:
    target = io.BytesIO()
    image.save(target, format="PNG", **options)
    return as_url(target.getvalue())


def as_url(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()


def png_that_announces(width: int, height: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    body = b"IDAT" + zlib.compress(bytes(1000))
    chunks = (struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (header, body))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@given(masks)
def test_a_mask_survives(mask: np.ndarray) -> None:
    assert np.array_equal(data_url_to_mask(mask_to_data_url(mask), mask.shape), mask)


def test_the_png_is_a_palette_of_one_bit_and_opaque_inside_only() -> None:
    mask = np.eye(5, 7, dtype=np.bool_)
    png = base64.b64decode(mask_to_data_url(mask).removeprefix("data:image/png;base64,"))
    assert png[24:26] == bytes((1, 3))  # bits a pixel, palette
    with Image.open(io.BytesIO(png)) as image:
        assert (image.format, image.mode, image.size) == ("PNG", "P", (7, 5))
        assert np.array_equal(np.asarray(image.convert("RGBA")), np.dstack([mask * np.uint8(255)] * 4))


def test_alpha_from_128_on_is_inside() -> None:
    alpha = np.array([[0, 1, 127, 128, 191, 255]], dtype=np.uint8)
    rgba = np.dstack([np.full_like(alpha, 200)] * 3 + [alpha])
    assert data_url_to_mask(data_url(Image.fromarray(rgba)), (1, 6)).tolist() == [[False] * 3 + [True] * 3]


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "I;16"])
def test_a_png_without_alpha_is_opaque(mode: str) -> None:
    assert data_url_to_mask(data_url(Image.new(mode, (3, 2))), (2, 3)).all()


def test_a_palette_with_transparency_is_read() -> None:
    image = Image.fromarray(np.array([[0, 1], [1, 0]], dtype=np.uint8), mode="P")
    image.putpalette([0, 0, 0, 255, 0, 0])
    assert data_url_to_mask(data_url(image, transparency=0), (2, 2)).tolist() == [
        [False, True],
        [True, False],
    ]


GOOD = mask_to_data_url(np.ones((40, 30), dtype=np.bool_))
BROKEN = [
    (None, "expected a data URL that begins with 'data:image/png;base64,', got None"),
    ("http://example.com/mask.png", "got 'http://example.com/mask.png'"),
    ("data:image/svg+xml;base64,AAAA", "got 'data:image/svg"),
    ("data:image/png;base64,AA!A", "expected base64 in the bitmask's data URL"),
    ("data:image/png;base64,", "expected a PNG in the bitmask's data URL, which cannot be read"),
    (as_url(b"GIF89a" + bytes(50)), "expected a PNG in the bitmask's data URL, which cannot be read"),
    (
        GOOD[: len("data:image/png;base64,") + 80],
        "expected a PNG in the bitmask's data URL, which cannot be read",
    ),
    (
        as_url(png_that_announces(40, 30)),
        r"expected a PNG of 30x40 \(width x height, as the image\), got 40x30",
    ),
    (as_url(png_that_announces(10_000, 9_000)), "got 10000x9000"),
    (as_url(png_that_announces(60_000, 60_000)), "decompression bomb"),
    (
        "data:image/png;base64," + "A" * 400_000,
        "expected at most 76336 bytes of PNG for 1200 pixels, got a data URL",
    ),
]


@pytest.mark.parametrize(("url", "message"), BROKEN)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_broken_data_url_says_what_is_wrong(url: str, message: str) -> None:
    tracemalloc.start()
    with pytest.raises(BitmaskError, match=message):
        data_url_to_mask(url, (40, 30))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3_000_000


def test_a_jpeg_in_disguise_is_refused() -> None:
    target = io.BytesIO()
    Image.new("RGB", (30, 40)).save(target, format="JPEG")
    with pytest.raises(BitmaskError, match="cannot be read"):
        data_url_to_mask(as_url(target.getvalue()), (40, 30))


def test_a_huge_image_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(MaskError, match="expected an image of at most 1000 pixels, got 30x40 = 1200"):
        data_url_to_mask(GOOD, (40, 30), max_pixels=1000)


def test_the_announced_size_is_read_from_the_header_alone() -> None:
    url = mask_to_data_url(np.ones((3, 5), dtype=np.bool_))
    assert announced_size_hw(url) == announced_size_hw(url[:60]) == (3, 5)
    for other in (None, "", url[:40], url.replace("png", "gif"), "data:image/png;base64,!", url[:30] + "A" + url[31:]):
        assert announced_size_hw(other) is None

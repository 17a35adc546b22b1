"""Checksums of PNGs: a flipped byte of a mask is refused, or changes nothing; no reader of masks lets one pass."""

import base64
import io
import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from converters.encodings.bitmask import data_url_to_alpha, mask_to_data_url
from converters.encodings.png_chunks import require_intact_png
from converters.errors import ConverterError, PNGError
from converters.files.png import read_png

SIZE_HW = (40, 50)
MASK = np.random.default_rng(3).random(SIZE_HW) > 0.5
LABELS = np.where(MASK, 3, 1).astype(np.uint8)
Decode = Callable[[bytes], npt.NDArray[np.generic]]


def png(image: Image.Image, **options: int) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


def palette() -> Image.Image:
    image = Image.fromarray(LABELS)
    image.putpalette([value // 3 for value in range(768)])
    return image


def as_bitmask(data: bytes) -> npt.NDArray[np.generic]:
    return data_url_to_alpha("data:image/png;base64," + base64.b64encode(data).decode(), SIZE_HW)


def as_file(folder: Path) -> Decode:
    def decode(data: bytes) -> npt.NDArray[np.generic]:
        (folder / "map.png").write_bytes(data)
        return read_png(folder / "map.png", ("1", "L", "P", "RGB"), SIZE_HW)

    return decode


PICTURES = {
    "bitmask": base64.b64decode(mask_to_data_url(MASK).partition(",")[2]),
    "palette with transparency": png(palette(), transparency=1),
    "labels": png(Image.fromarray(LABELS)),
    "RGB": png(Image.fromarray(np.dstack([LABELS] * 3))),
    "1-bit": png(Image.fromarray(MASK)),
}


@pytest.mark.parametrize(
    ("name", "reader"),
    [*((name, "bitmask") for name in PICTURES), *((name, "file") for name in PICTURES if name != "bitmask")],
)
def test_a_flipped_byte_is_refused_or_changes_nothing(tmp_path: Path, name: str, reader: str) -> None:
    data, decode = PICTURES[name], as_bitmask if reader == "bitmask" else as_file(tmp_path)
    whole = decode(data)
    for position in range(len(data)):
        for bits in (0xFF, 0x01, 0x20):
            damaged = data[:position] + bytes([data[position] ^ bits]) + data[position + 1 :]
            with suppress(ConverterError):
                assert np.array_equal(decode(damaged), whole), f"byte {position}, bits {bits:02x}: another mask"


def test_what_is_damaged_is_said() -> None:
    data = PICTURES["labels"]
    require_intact_png(io.BytesIO(data + b"what follows the last chunk"))
    place = data.index(b"IDAT") + 10
    with pytest.raises(PNGError, match=r"expected the chunk 'IDAT' with the checksum [0-9a-f]{8}, got .* damaged"):
        require_intact_png(io.BytesIO(data[:place] + b"!" + data[place + 1 :]))
    for end in (place, len(data) - 1, 8):
        with pytest.raises(PNGError, match="cut short"):
            require_intact_png(io.BytesIO(data[:end]))
    with pytest.raises(PNGError, match="expected the signature of a PNG"):
        require_intact_png(io.BytesIO(b"GIF89a" + data))


def test_a_chunk_that_announces_gigabytes_takes_no_memory() -> None:
    announced = struct.pack(">I", 0xFFFFFFFF) + b"IDAT" + bytes(100)
    with pytest.raises(PNGError, match="cut short"):
        require_intact_png(io.BytesIO(b"\x89PNG\r\n\x1a\n" + announced))


def test_a_large_chunk_is_read_block_by_block() -> None:
    body = b"IDAT" + bytes(3 << 20)
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    require_intact_png(io.BytesIO(b"\x89PNG\r\n\x1a\n" + chunk + b"\x00\x00\x00\x00IEND\xaeB`\x82"))

import contextlib
import io
import struct
import threading
import zlib
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from backend.errors import ImageDecodeError, ImageTooLargeError, ImageWaitError
from backend.settings import Settings
from backend.sources.fetch import Fetcher
from backend.sources.images import ImageSource, decode_image
from backend.sources.label_studio import LabelStudioClient
from tests.fakes.label_studio import FakeLabelStudio
from tests.fakes.pictures import encoded, red_and_blue

MAX_PX = 1_000_000

# What a camera stores for an upright picture held in each of the eight ways (EXIF 2.3, tag 0x0112).
STORED = {
    1: lambda upright: upright,
    2: np.fliplr,
    3: lambda upright: np.rot90(upright, 2),
    4: np.flipud,
    5: lambda upright: np.transpose(upright, (1, 0, 2)),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: np.transpose(np.rot90(upright, 2), (1, 0, 2)),
    8: lambda upright: np.rot90(upright, -1),
}


def saved(image: Image.Image, picture_format: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, picture_format)
    return buffer.getvalue()


def exif(orientation: int) -> Image.Exif:
    data = Image.Exif()
    data[0x0112] = orientation
    return data


def lopsided() -> NDArray[np.uint8]:
    """Return a picture that looks different in each orientation."""
    image = red_and_blue(24, 16)
    image[0, 0] = (255, 255, 255)
    return image


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_made_upright(orientation: int) -> None:
    stored = np.ascontiguousarray(STORED[orientation](lopsided()))
    data = encoded(stored, "PNG", exif=exif(orientation))
    assert np.array_equal(decode_image(data, max_px=MAX_PX), lopsided())


XMP = b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/>'


@pytest.mark.parametrize("picture_format", ["JPEG", "WEBP", "PNG"])
def test_an_orientation_that_browsers_do_not_read_is_not_applied(picture_format: str) -> None:
    text = PngInfo()
    text.add_itxt("XML:com.adobe.xmp", XMP.decode())
    data = encoded(lopsided(), picture_format, **({"pnginfo": text} if picture_format == "PNG" else {"xmp": XMP}))
    assert decode_image(data, max_px=MAX_PX).shape == lopsided().shape


def test_damaged_exif_does_not_cost_the_picture() -> None:
    data = encoded(lopsided(), "PNG", exif=b"Exif\0\0garbage!")
    assert np.array_equal(decode_image(data, max_px=MAX_PX), lopsided())


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_tiff_is_turned_once(orientation: int) -> None:
    stored = np.ascontiguousarray(STORED[orientation](lopsided()))
    data = encoded(stored, "TIFF", exif=exif(orientation))
    assert np.array_equal(decode_image(data, max_px=MAX_PX), lopsided())


@pytest.mark.parametrize("orientation", range(1, 9))
def test_jpegs_of_every_orientation_have_the_size_a_browser_shows(orientation: int) -> None:
    stored = np.ascontiguousarray(STORED[orientation](lopsided()))
    data = encoded(stored, "JPEG", exif=exif(orientation), quality=95)
    assert decode_image(data, max_px=MAX_PX).shape == (16, 24, 3)


@pytest.mark.parametrize("picture_format", ["PNG", "BMP", "GIF", "TIFF", "WEBP"])
def test_formats(picture_format: str) -> None:
    options = {"lossless": True} if picture_format == "WEBP" else {}
    data = encoded(red_and_blue(), picture_format, **options)
    decoded = decode_image(data, max_px=MAX_PX)
    assert decoded.dtype == np.uint8
    assert np.array_equal(decoded, red_and_blue())


KINDS: dict[str, tuple[str, str, dict[str, object]]] = {  # the format, the mode, and how it is saved
    "PNG of two colours": ("PNG", "1", {}),
    "PNG with a palette": ("PNG", "P", {}),
    "PNG of several frames": ("PNG", "RGB", {"save_all": True, "append_images": [Image.new("RGB", (32, 24))]}),
    "JPEG": ("JPEG", "RGB", {"quality": 95}),
    "progressive JPEG": ("JPEG", "RGB", {"quality": 95, "progressive": True}),
    "CMYK JPEG": ("JPEG", "CMYK", {"quality": 95}),
    "grey JPEG": ("JPEG", "L", {"quality": 95}),
    "moving GIF": ("GIF", "RGB", {"save_all": True, "append_images": [Image.new("RGB", (32, 24))]}),
    "WEBP": ("WEBP", "RGB", {"quality": 95}),
    "moving WEBP": ("WEBP", "RGB", {"save_all": True, "append_images": [Image.new("RGB", (32, 24))], "quality": 95}),
    "AVIF": ("AVIF", "RGB", {"quality": 95}),
    "grey BMP": ("BMP", "L", {}),
    "BMP of two colours": ("BMP", "1", {}),
    "LZW TIFF": ("TIFF", "RGB", {"compression": "tiff_lzw"}),
    "deflated TIFF": ("TIFF", "RGB", {"compression": "tiff_deflate"}),
    "JPEG in a TIFF": ("TIFF", "RGB", {"compression": "jpeg"}),
    "faxed TIFF": ("TIFF", "1", {"compression": "group4"}),
    "TIFF of several pages": ("TIFF", "RGB", {"save_all": True, "append_images": [Image.new("RGB", (32, 24))]}),
    "TIFF in Lab": ("TIFF", "LAB", {}),
}


@pytest.mark.filterwarnings("ignore:.*:UserWarning:PIL")
@pytest.mark.parametrize("kind", KINDS)
def test_every_common_kind_is_read_and_every_cut_of_it_is_read_or_refused(kind: str) -> None:
    """A picture of large fields, of which each kind keeps the colours or the greys; of several pictures the first."""
    picture_format, mode, options = KINDS[kind]
    fields = np.kron(np.array([[0, 255], [255, 0]], np.uint8), np.ones((12, 16), np.uint8))
    picture = Image.fromarray(np.stack([fields, fields, fields], axis=2)).convert(mode)
    buffer = io.BytesIO()
    picture.save(buffer, picture_format, **options)
    data = buffer.getvalue()
    decoded = decode_image(data, max_px=MAX_PX)
    assert decoded.shape == (24, 32, 3) and decoded.dtype == np.uint8
    assert np.abs(decoded.astype(int) - fields[:, :, None].astype(int)).mean() < 8
    for length in range(0, len(data), max(1, len(data) // 40)):
        with contextlib.suppress(ImageDecodeError):
            assert decode_image(data[:length], max_px=MAX_PX).shape == (24, 32, 3)


def test_grey_becomes_three_equal_channels() -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert np.array_equal(decode_image(encoded(grey), max_px=MAX_PX), np.repeat(grey[:, :, None], 3, axis=2))


def test_sixteen_bit_grey_keeps_its_shades() -> None:
    grey = np.arange(256, dtype=np.uint16).reshape(16, 16) * 257
    decoded = decode_image(encoded(grey), max_px=MAX_PX)
    assert np.array_equal(decoded[:, :, 0], np.arange(256).reshape(16, 16))


def test_cmyk_becomes_rgb() -> None:
    image = Image.new("CMYK", (4, 3), (0, 255, 255, 0))
    decoded = decode_image(saved(image, "JPEG"), max_px=MAX_PX)
    assert decoded.shape == (3, 4, 3)
    assert decoded[0, 0, 0] > 200
    assert decoded[0, 0, 2] < 60


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_white(mode: str) -> None:
    transparent = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    picture = transparent.quantize(4) if mode == "P" else transparent.convert(mode)
    assert (decode_image(saved(picture, "PNG"), max_px=MAX_PX) == 255).all()


@pytest.mark.parametrize("data", [b"", b"hello, I am no picture", b"<html>Please log in</html>", b"%PDF-1.4", b"%!PS"])
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(ImageDecodeError, match="are no picture in one of JPEG, PNG"):
        decode_image(data, max_px=MAX_PX)


@pytest.mark.parametrize("picture_format", ["PNG", "JPEG", "GIF", "TIFF"])
def test_a_truncated_picture_is_refused(picture_format: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    data = encoded(noise, picture_format)
    with pytest.raises(ImageDecodeError):
        decode_image(data[: len(data) // 2], max_px=MAX_PX)


def test_floating_point_pixels_are_refused() -> None:
    with pytest.raises(ImageDecodeError, match="floating-point"):
        decode_image(encoded(np.zeros((4, 4), dtype=np.float32), "TIFF"), max_px=MAX_PX)


def test_too_many_pixels_are_refused_from_the_header_alone() -> None:
    with pytest.raises(ImageTooLargeError, match=r"5000 x 4000 pixels, more than 1000000 \(OVDIFF_IMAGE_MAX_PX\)"):
        decode_image(png_header(5000, 4000), max_px=MAX_PX)


def test_more_than_pillow_opens_is_refused() -> None:
    with pytest.raises(ImageTooLargeError, match="OVDIFF_IMAGE_MAX_PX"):
        decode_image(png_header(60000, 60000), max_px=MAX_PX)


def png_header(width: int, height: int) -> bytes:
    """Return a PNG that promises a size and holds hardly any pixels."""
    chunks = [b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), b"IDAT" + zlib.compress(b"0")]
    framed = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


def test_an_image_of_a_task_is_fetched_and_decoded(label_studio: FakeLabelStudio, settings: Settings) -> None:
    source = ImageSource(Fetcher(LabelStudioClient(settings.label_studio), settings.images))
    with source.opened("/data/upload/1/picture.png") as pixels:
        assert np.array_equal(pixels, red_and_blue())


def test_images_beyond_the_room_are_decoded_one_after_another(
    label_studio: FakeLabelStudio, settings: Settings
) -> None:
    images = replace(settings.images, pixels_at_once=1)
    source = ImageSource(Fetcher(LabelStudioClient(settings.label_studio), images))
    opened, leave = threading.Event(), threading.Event()

    def open_second() -> None:
        with source.opened("/data/upload/1/picture.png"):
            opened.set()
            leave.wait(60.0)

    with source.opened("/data/upload/1/picture.png"):
        second = threading.Thread(target=open_second)
        second.start()
        assert not opened.wait(0.2)
    assert opened.wait(60.0)
    leave.set()
    second.join()


@pytest.mark.timeout(30)
def test_sources_that_are_made_of_one_share_its_room(label_studio: FakeLabelStudio, settings: Settings) -> None:
    fetcher = Fetcher(LabelStudioClient(settings.label_studio), replace(settings.images, pixels_at_once=1))
    source = ImageSource(fetcher)
    with (
        source.opened("/data/upload/1/picture.png"),
        pytest.raises(ImageWaitError),
        source.through(fetcher).opened("/data/upload/1/picture.png", within_s=1.5),
    ):
        pytest.fail("two images were in memory")
    with source.through(fetcher).opened("/data/upload/1/picture.png") as pixels:
        assert pixels.size


def test_an_image_waits_for_room_no_longer_than_its_request_has(
    label_studio: FakeLabelStudio, settings: Settings
) -> None:
    images = replace(settings.images, pixels_at_once=1)
    source = ImageSource(Fetcher(LabelStudioClient(settings.label_studio), images))
    path = "/data/upload/1/picture.png"
    with source.opened(path), pytest.raises(ImageWaitError), source.opened(path, within_s=1.5):
        pytest.fail("there is no room for a second image")

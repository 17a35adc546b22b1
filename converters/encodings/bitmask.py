"""Label Studio's bitmask: a PNG of the image's size as a data URL, opaque inside, transparent outside.

The page paints the PNG into a canvas and looks at alpha only; so does this module: a pixel is in the mask
from alpha 128 on, and a PNG without alpha is opaque everywhere.
"""

import base64
import binascii
import io

import numpy as np
from PIL import Image

from converters.encodings.brush import ALPHA_THRESHOLD, Alpha
from converters.encodings.masks import MAX_PIXELS, Mask, require_mask, require_size
from converters.encodings.png_chunks import require_intact_png
from converters.errors import BitmaskError

_PREFIX = "data:image/png;base64,"
_PALETTE = (0, 0, 0, 255, 255, 255)  # outside, inside
_PALETTE_ALPHA = bytes((0, 255))
_MAX_BYTES_PER_PIXEL = 9  # 16-bit RGBA that does not compress at all, and its filter bytes
_MAX_EXTRA_BYTES = 1 << 16  # signature, header, colour profile


def mask_to_data_url(mask: Mask) -> str:
    """Encode a (H, W) bool mask as the `imageDataURL` of a bitmask region: a palette PNG of one bit a pixel.

    The editor of Label Studio 1.23.2 shows it as it shows an RGBA PNG, which takes ten times as long to make.
    """
    require_mask(mask)
    image = Image.fromarray(mask.view(np.uint8))
    image.putpalette(_PALETTE)  # from here on the values are positions in the palette
    target = io.BytesIO()
    image.save(target, format="PNG", bits=1, transparency=_PALETTE_ALPHA)
    return _PREFIX + base64.b64encode(target.getvalue()).decode("ascii")


def data_url_to_mask(url: str, size_hw: tuple[int, int], *, max_pixels: int = MAX_PIXELS) -> Mask:
    """Decode the `imageDataURL` of a bitmask region into the pixels with alpha >= 128.

    Args:
        url: `data:image/png;base64,...`.
        size_hw: height and width of the image, `original_height` and `original_width` of the region.
        max_pixels: refuse larger images before anything is decoded.

    Returns:
        (H, W) bool.

    Raises:
        BitmaskError: the text is no data URL of a PNG, is implausibly long, or the PNG is damaged or of another size.
        MaskError: `size_hw` is no size, or has more than `max_pixels`.
    """
    return data_url_to_alpha(url, size_hw, max_pixels=max_pixels) >= ALPHA_THRESHOLD


def data_url_to_alpha(url: str, size_hw: tuple[int, int], *, max_pixels: int = MAX_PIXELS) -> Alpha:
    """Decode the `imageDataURL` of a bitmask region into its alpha channel, (H, W) uint8.

    The arguments and errors are those of `data_url_to_mask`.
    """
    height, width = require_size(size_hw, max_pixels=max_pixels)
    return np.asarray(_png_alpha(_png_bytes(url, height * width), height, width))


def data_url_has_transparency(url: str) -> bool:
    """Tell whether the PNG of a data URL has any transparency; the URL must have been decoded before.

    A PNG without transparency covers the whole image.
    """
    with Image.open(io.BytesIO(base64.b64decode(url[len(_PREFIX) :])), formats=("PNG",)) as image:
        return "A" in image.getbands() or "transparency" in image.info


def announced_size_hw(url: object) -> tuple[int, int] | None:
    """Return the (height, width) that a data URL's PNG announces in its header, None if it has no such header."""
    if not isinstance(url, str) or not url.startswith(_PREFIX):
        return None
    try:
        header = base64.b64decode(url[len(_PREFIX) : len(_PREFIX) + 32], validate=True)
    except ValueError:
        return None
    if len(header) < 24 or not header.startswith(b"\x89PNG\r\n\x1a\n"):
        return None
    return int.from_bytes(header[20:24], "big"), int.from_bytes(header[16:20], "big")


def _png_bytes(url: str, pixel_count: int) -> bytes:
    if not isinstance(url, str) or not url.startswith(_PREFIX):
        raise BitmaskError(f"expected a data URL that begins with {_PREFIX!r}, got {url!r:.60}")
    return _base64_bytes(url, pixel_count)


def _base64_bytes(url: str, pixel_count: int) -> bytes:
    limit = pixel_count * _MAX_BYTES_PER_PIXEL + _MAX_EXTRA_BYTES
    if (len(url) - len(_PREFIX)) * 3 // 4 > limit:
        raise BitmaskError(
            f"expected at most {limit} bytes of PNG for {pixel_count} pixels, got a data URL of {len(url)} characters"
        )
    try:
        return base64.b64decode(url[len(_PREFIX) :], validate=True)
    except (binascii.Error, ValueError) as error:
        raise BitmaskError(f"expected base64 in the bitmask's data URL: {error}") from error


def _png_alpha(png: bytes, height: int, width: int) -> Image.Image:
    """Return the alpha channel; the size in the PNG's header is compared with the image's before decoding."""
    try:
        with Image.open(io.BytesIO(png), formats=("PNG",)) as image:
            if image.size != (width, height):
                raise BitmaskError(
                    f"expected a PNG of {width}x{height} (width x height, as the image), got "
                    f"{image.size[0]}x{image.size[1]}"
                )
            require_intact_png(io.BytesIO(png))
            return (image if image.mode == "RGBA" else image.convert("RGBA")).getchannel("A")
    except BitmaskError:
        raise
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError, Image.DecompressionBombError) as error:
        raise BitmaskError(f"expected a PNG in the bitmask's data URL, which cannot be read: {error}") from error

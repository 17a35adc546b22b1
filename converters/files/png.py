"""PNG files of label maps: the one place where they are opened, held against a size, and made.

A PNG announces its size in its header: a few bytes may ask for gigabytes. It is checked before anything is decoded.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from converters.encodings.masks import MAX_PIXELS
from converters.errors import PNGError

Pixels = npt.NDArray[np.uint8]

# MemoryError: Pillow believes the length of a damaged chunk.
_UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, MemoryError, Image.DecompressionBombError)


def png_size(path: Path, *, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Return (height, width) in pixels as the header says; raise PNGError if that is too large or no PNG."""
    try:
        with Image.open(path, formats=("PNG",)) as image:
            width, height = image.size
    except _UNREADABLE as error:
        raise PNGError(f"{path.name}: expected a PNG, which cannot be read: {error}") from error
    if width * height > max_pixels:
        raise PNGError(f"{path.name}: expected at most {max_pixels} pixels, got {width}x{height}")
    return height, width


def read_png(
    path: Path, modes: tuple[str, ...], size_hw: tuple[int, int] | None = None, *, max_pixels: int = MAX_PIXELS
) -> Pixels:
    """Read a PNG whose pixels are numbers, not colours to look at.

    Args:
        path: the file.
        modes: Pillow's names of the modes that will do, for example ("RGB",) or ("P", "L", "1").
        size_hw: height and width that it must have (None: any).
        max_pixels: refuse larger ones before they are decoded.

    Returns:
        (H, W) or (H, W, 3) uint8: grey values, palette positions or RGB as stored.

    Raises:
        PNGError: it is none of that.
    """
    height, width = png_size(path, max_pixels=max_pixels)
    if size_hw is not None and (height, width) != tuple(size_hw):
        raise PNGError(f"{path.name}: expected a PNG of {size_hw[1]}x{size_hw[0]} as its image, got {width}x{height}")
    try:
        with Image.open(path, formats=("PNG",)) as image:
            if image.mode not in modes:
                raise PNGError(f"{path.name}: expected a PNG of mode {' or '.join(modes)}, got {image.mode}")
            return np.array(image, dtype=np.uint8)
    except PNGError:
        raise
    except _UNREADABLE as error:
        raise PNGError(f"{path.name}: expected a PNG, which cannot be read: {error}") from error

"""PNG files of label maps: the one place where they are opened and their size is checked.

A PNG announces its size in its header, so a few bytes may ask for gigabytes. The size is checked before any pixel is
decoded.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from converters.encodings.masks import MAX_PIXELS
from converters.encodings.png_chunks import require_intact_png
from converters.errors import PNGError

Pixels = npt.NDArray[np.uint8]
Values = npt.NDArray[np.integer]

# MemoryError: Pillow believes the length of a damaged chunk.
_UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, MemoryError, Image.DecompressionBombError)


def png_size(path: Path, *, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Return (height, width) in pixels from the header of a PNG.

    Raises:
        PNGError: the file is no PNG, or has more than `max_pixels`.
    """
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
        modes: the allowed modes, by Pillow's names, for example ("RGB",) or ("P", "L", "1").
        size_hw: the height and width that the picture must have (None: any size).
        max_pixels: refuse larger pictures before they are decoded.

    Returns:
        (H, W) or (H, W, 3) uint8: grey values, palette positions or RGB as stored.

    Raises:
        PNGError: the file is no PNG, is damaged, or is of another mode or size.
    """
    return read_png_values(path, modes, size_hw, max_pixels=max_pixels).astype(np.uint8, copy=False)


def read_png_values(
    path: Path, modes: tuple[str, ...], size_hw: tuple[int, int] | None = None, *, max_pixels: int = MAX_PIXELS
) -> Values:
    """Read a PNG as `read_png` does, of 16 bits too if a mode such as "I;16" is allowed.

    Returns:
        (H, W) or (H, W, 2 to 4), uint8, or uint16 or int32 for 16 bits.

    Raises:
        PNGError: as `read_png`.
    """
    height, width = png_size(path, max_pixels=max_pixels)
    if size_hw is not None and (height, width) != tuple(size_hw):
        raise PNGError(f"{path.name}: expected a PNG of {size_hw[1]}x{size_hw[0]} as its image, got {width}x{height}")
    try:
        with Image.open(path, formats=("PNG",)) as image:
            if image.mode not in modes:
                raise PNGError(f"{path.name}: expected a PNG of mode {' or '.join(modes)}, got {image.mode}")
            _require_intact(path)
            return np.array(image, dtype=None if image.mode.startswith("I") else np.uint8)
    except PNGError:
        raise
    except _UNREADABLE as error:
        raise PNGError(f"{path.name}: expected a PNG, which cannot be read: {error}") from error


def _require_intact(path: Path) -> None:
    try:
        with path.open("rb") as file:
            require_intact_png(file)
    except PNGError as error:
        raise PNGError(f"{path.name}: expected a PNG, which cannot be read: {error}") from error

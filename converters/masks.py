"""Masks: the type all converters share, connected parts, holes, and polygons there and back.

A mask is (H, W) bool. Polygons are (n, 2) float64 arrays of (x, y) in pixels, x to the right and y down, with
(0, 0) the outer corner of the first pixel: pixel (row, column) covers [column, column + 1] x [row, row + 1],
so the outline of a single pixel has the corners (0, 0), (1, 0), (1, 1), (0, 1). A pixel belongs to a polygon
if its centre does.

Parts are 8-connected (pixels touch at corners too) and, to match, holes are 4-connected.
"""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from converters.errors import MaskError

Mask: TypeAlias = npt.NDArray[np.bool_]
"""(H, W) bool, True inside."""

MAX_PIXELS = 100_000_000
"""Largest image that is decoded unless the caller says otherwise: 100 MB as a mask."""


def require_mask(mask: Mask) -> None:
    """Raise MaskError unless `mask` is a (H, W) bool array with at least one pixel."""
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.ndim != 2 or mask.size == 0:
        got = f"{mask.dtype} of shape {mask.shape}" if isinstance(mask, np.ndarray) else type(mask).__name__
        raise MaskError(
            f"expected a (H, W) bool mask with at least one pixel, got {got}; "
            "compare first, as in `alpha >= 128` or `label_map == 3`"
        )


def require_size(size_hw: tuple[int, int], *, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Return (height, width) if both are whole numbers of 1 or more and the image is small enough.

    Raises:
        MaskError: they are not, or height x width exceeds `max_pixels`.
    """
    height, width = size_hw
    for name, value in (("height", height), ("width", width)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
            raise MaskError(f"expected an image {name} of at least 1 pixel, got {value!r}")
    if int(height) * int(width) > max_pixels:
        raise MaskError(
            f"expected an image of at most {max_pixels} pixels, got {width}x{height} = {height * width}; "
            "raise `max_pixels` if that is meant"
        )
    return int(height), int(width)

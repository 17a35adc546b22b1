"""Regions of images as small pictures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

WIDER = 0.25
"""Of the box's sides, on each side: a thing is known by its surroundings."""


def crop(image: NDArray[np.uint8], box: tuple[float, float, float, float], side_px: int) -> Image.Image:
    """Return a box, as shares of an image (H, W, 3), with some surroundings; its longer side has so many pixels."""
    height, width = image.shape[:2]
    x0, y0, x1, y1 = box
    wider_x, wider_y = (x1 - x0) * WIDER, (y1 - y0) * WIDER
    left, right = max(0, int((x0 - wider_x) * width)), min(width, int(np.ceil((x1 + wider_x) * width)))
    top, bottom = max(0, int((y0 - wider_y) * height)), min(height, int(np.ceil((y1 + wider_y) * height)))
    tile = Image.fromarray(np.ascontiguousarray(image[top:bottom, left:right]))
    scale = side_px / max(tile.size)
    return tile.resize(
        (max(1, round(tile.width * scale)), max(1, round(tile.height * scale))), Image.Resampling.BICUBIC
    )

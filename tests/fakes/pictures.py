"""Small plain pictures, as arrays and as files."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

RED, BLUE, GREY = (255, 0, 0), (0, 0, 255), (120, 120, 120)


def red_and_blue(width: int = 64, height: int = 48) -> NDArray[np.uint8]:
    """Return (H, W, 3) RGB: grey, with a red rectangle in the left half and a blue one in the right."""
    image = np.full((height, width, 3), GREY, dtype=np.uint8)
    rows = slice(height // 4, 3 * height // 4)
    image[rows, width // 8 : 3 * width // 8] = RED
    image[rows, 5 * width // 8 : 7 * width // 8] = BLUE
    return image


def encoded(image: NDArray[np.uint8], picture_format: str = "PNG", **options: object) -> bytes:
    """Return the picture as the bytes of a file."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, picture_format, **options)
    return buffer.getvalue()

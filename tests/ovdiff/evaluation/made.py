"""Small folders in the layouts of datasets, as tests make them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

EXIF_ORIENTATION = 0x0112
SIZE_HW = (6, 8)


def values(*rows: Sequence[int], dtype: type[np.generic] = np.uint8) -> NDArray[np.generic]:
    """Return (6, 8) values of pixels: each row of the argument is repeated to the width, the last one to the height."""
    filled = [list(row) + [row[-1]] * (SIZE_HW[1] - len(row)) for row in rows]
    return np.array(filled + [filled[-1]] * (SIZE_HW[0] - len(filled)), dtype=dtype)


def write_image(path: Path, mode: str = "RGB", orientation: int | None = None) -> None:
    """Write a picture of 8x6 pixels, of any mode, red on the left half of it where it has colours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((*SIZE_HW, 3), dtype=np.uint8)
    pixels[:, :4, 0] = 255
    exif = Image.Exif()
    if orientation is not None:
        exif[EXIF_ORIENTATION] = orientation
    Image.fromarray(pixels).convert(mode).save(path, exif=exif, **({"quality": 95} if path.suffix == ".jpg" else {}))


def write_labels(path: Path, labels: NDArray[np.generic], *, palette: bool = False) -> None:
    """Write the values of pixels as a grey picture or, with ``palette``, as one of colours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(labels)
    if palette:
        picture.putpalette([channel for value in range(256) for channel in (value, 255 - value, value // 2)])
    picture.save(path)


def write_text(path: Path, text: str) -> None:
    """Write a text file, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")

"""Files that a form brings along: read as images and masks within the limits that the images of tasks have."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from werkzeug.datastructures import FileStorage

from backend.errors import ImageSourceError, RequestError
from backend.sources.images import count_px, decode_image
from backend.sources.pixel_room import PixelRoom
from ovdiff.errors import ImageError
from ovdiff.images import read_mask

NAME_CHARACTERS = 80
ROOM_WITHIN_S = 15.0
"""How long an upload waits until the images that are in memory leave room for it; a person waits with it."""


def uploaded_image(file: FileStorage | None, room: PixelRoom, *, max_px: int) -> tuple[NDArray[np.uint8], str]:
    """Return an uploaded image, (H, W, 3) uint8 RGB, upright, and the name of its file.

    Args:
        file: the file of the form.
        room: bounds the pixels that are decoded at once in this process.
        max_px: pixels that the image may have.

    Raises:
        RequestError: there is no file, it is no picture of an allowed size, or other images left no room for it.
    """
    data, name = _bytes(file, "an image")
    try:
        with room.taken(count_px(data, max_px=max_px), within_s=ROOM_WITHIN_S):
            return decode_image(data, max_px=max_px), name
    except ImageSourceError as error:
        raise RequestError(f"The image {name!r} cannot be used: {error}") from error


def uploaded_mask(file: FileStorage | None, room: PixelRoom, *, max_px: int) -> NDArray[np.bool_]:
    """Return an uploaded mask, (H, W) bool: a PNG of two values, true where a pixel is not 0.

    Args and Raises are those of `uploaded_image`.
    """
    data, name = _bytes(file, "a mask, a PNG that is white where the object is")
    try:
        px = count_px(data, max_px=max_px)
        with room.taken(px, within_s=ROOM_WITHIN_S), tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "mask.png"  # `read_mask` names the file in its messages
            path.write_bytes(data)
            return read_mask(path)
    except (ImageSourceError, ImageError) as error:
        text = str(error).replace(f"{folder}/mask.png", name) if isinstance(error, ImageError) else str(error)
        raise RequestError(f"The mask {name!r} cannot be used: {text}") from error


def _bytes(file: FileStorage | None, what: str) -> tuple[bytes, str]:
    if file is None or not file.filename:
        raise RequestError(f"The form lacks {what}. Choose a file.")
    return file.read(), Path(file.filename).name[:NAME_CHARACTERS]

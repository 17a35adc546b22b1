"""Files that a command writes: all of one or nothing, so that an interrupted run leaves no half picture."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from backend.errors import RequestError
from converters.files.atomic import write_whole


def write_png(picture: Image.Image, path: Path) -> None:
    """Write a PNG, making its folder if need be; it replaces an older file and appears whole or not at all.

    Raises:
        RequestError: it cannot be written, or a folder or a device has its name.
    """
    data = io.BytesIO()
    picture.save(data, format="PNG")
    try:
        write_whole(path, data.getvalue())
    except OSError as error:
        raise RequestError(f"Cannot write {path}: {error}.") from error

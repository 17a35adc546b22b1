"""The pictures that a command writes; each is written whole or not at all, also when the run is interrupted."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from backend.errors import RequestError
from converters.files.atomic import write_whole


def write_png(picture: Image.Image, path: Path) -> None:
    """Write a PNG, whole or not at all. Its folder is made if it is missing, and an older file is replaced.

    Raises:
        RequestError: the file cannot be written, or its path is that of a folder or a device.
    """
    data = io.BytesIO()
    picture.save(data, format="PNG")
    try:
        write_whole(path, data.getvalue())
    except OSError as error:
        raise RequestError(f"Cannot write {path}: {error}.") from error

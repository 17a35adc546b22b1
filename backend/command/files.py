"""Files that a command writes: all of one or nothing, so that an interrupted run leaves no half picture."""

from __future__ import annotations

import io
import os
from pathlib import Path

from PIL import Image

from backend.errors import RequestError


def write_png(picture: Image.Image, path: Path) -> None:
    """Write a PNG through a temporary file beside it, making its folder if need be.

    Raises:
        RequestError: it cannot be written.
    """
    data = io.BytesIO()
    picture.save(data, format="PNG")
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            partial.write_bytes(data.getvalue())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise RequestError(f"Cannot write {path}: {error}.") from error

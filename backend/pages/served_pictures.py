"""Pictures that were drawn for a page, kept in memory by their content until a browser has fetched them."""

from __future__ import annotations

import hashlib
import io
import re
import threading
from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backend.errors import NothingThereError

MOST_BYTES = 48 * 2**20
"""A page of a task is 1 MB of pictures, so some forty pages."""

KEEP_S = 3600
"""How long a browser may keep a picture. Its address changes with its content, so it is never old."""

NAME = re.compile(r"[0-9a-f]{32}\.(?:png|jpg)")
_TYPES = {"png": "image/png", "jpg": "image/jpeg"}
_JPEG_QUALITY = 90
_SMALL_PX = 300_000  # such pictures stay exact; photographs have more


class ServedPictures:
    """The pictures of the last pages. Threads may share it."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        """Keep pictures of so many bytes together; those that were asked for longest ago go first."""
        self._most_bytes, self._bytes = most_bytes, 0
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, bytes] = OrderedDict()

    def add(self, picture: Image.Image, *, is_photograph: bool = False) -> str:
        """Keep a picture, and return the name by which it is fetched: PNG, or JPEG for a large photograph."""
        file, as_jpeg = io.BytesIO(), is_photograph and picture.width * picture.height > _SMALL_PX
        if as_jpeg:
            picture.save(file, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
        else:
            picture.save(file, "PNG")
        data = file.getvalue()
        name = f"{hashlib.sha256(data).hexdigest()[:32]}.{'jpg' if as_jpeg else 'png'}"
        with self._lock:
            self._bytes += len(data) - len(self._kept.pop(name, b""))
            self._kept[name] = data
            while self._bytes > self._most_bytes and len(self._kept) > 1:
                self._bytes -= len(self._kept.popitem(last=False)[1])
        return name

    def get(self, name: str) -> tuple[str, bytes]:
        """Return the content type and the bytes of a picture.

        Raises:
            NothingThereError: it is not kept any more, or never was.
        """
        with self._lock:
            if name not in self._kept:
                raise NothingThereError("This picture is not kept any more. Load the page that shows it again.")
            self._kept.move_to_end(name)
            return _TYPES[name.rpartition(".")[2]], self._kept[name]


def reduced(pixels: NDArray[np.uint8], most_px: int) -> Image.Image:
    """Return an image (H, W, 3) uint8 RGB whose longer side has at most so many pixels."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((most_px, most_px), Image.Resampling.LANCZOS, reducing_gap=3.0)
    return picture

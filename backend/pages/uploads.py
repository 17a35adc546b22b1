"""Files that a form brings along: read as images and masks within the limits that the images of tasks have.

What a form asks for may be done much later, and many may wait for it. So what was uploaded waits as it came, in files
on disk. It is decoded only where its pixels are used, within the room that all images of this process share.
"""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from werkzeug.datastructures import FileStorage

from backend.errors import ImageSourceError, ImageWaitError, RequestError
from backend.sources.images import count_px, decode_image
from backend.sources.pixel_room import PixelRoom
from ovdiff.errors import ImageError
from ovdiff.images import read_mask

NAME_CHARACTERS = 80
ROOM_WITHIN_S = 15.0
"""How long an upload waits until the images that are in memory leave room for it; a person waits with it."""


class UploadedObject:
    """An uploaded image with the mask of an object. Its files are on disk, without names, until this is forgotten.

    Attributes:
        name: that of the image's file.
    """

    def __init__(self, image: FileStorage | None, mask: FileStorage | None, room: PixelRoom, *, max_px: int) -> None:
        """Keep the files of a form. They are decoded once, so that a person is told at once what cannot be used.

        Args:
            image: a picture.
            mask: a PNG of two values, which is true where a pixel is not 0.
            room: bounds the pixels that are decoded at once in this process.
            max_px: pixels that each of them may have.

        Raises:
            RequestError: a file is missing, is no picture of an allowed size, or cannot be kept; or other images left
                no room for both.
        """
        self._room, self._max_px = room, max_px
        self._image, self.name = self._kept(image, "an image")
        self._mask, self._mask_name = self._kept(mask, "a mask, a PNG that is white where the object is")
        with self.opened():
            pass

    @contextmanager
    def opened(self) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.bool_]]]:
        """Yield the image (H, W, 3) uint8 RGB, upright, and the mask (H, W) bool; open no other image in the block.

        Raises:
            RequestError: a file is no picture of an allowed size, or other images left no room for both.
        """
        image, mask = _data(self._image), _data(self._mask)
        px = self._pixels("image", self.name, image) + self._pixels("mask", self._mask_name, mask)
        try:
            with self._room.taken(px, within_s=ROOM_WITHIN_S):
                yield self._decoded(image), _decoded_mask(mask, self._mask_name)
        except ImageWaitError as error:
            raise RequestError(f"The image {self.name!r} cannot be used: {error}") from error

    def _kept(self, file: FileStorage | None, what: str) -> tuple[IO[bytes], str]:
        if file is None or not file.filename:
            raise RequestError(f"The form lacks {what}. Choose a file.")
        name = Path(file.filename).name[:NAME_CHARACTERS]
        try:
            kept = tempfile.TemporaryFile()  # noqa: SIM115  # it lives as long as this
            weakref.finalize(self, kept.close)
            file.save(kept)
        except OSError as error:
            why = f"The file {name!r} cannot be kept until it is used ({error}). Make room where the service runs."
            raise RequestError(why) from error
        return kept, name

    def _pixels(self, what: str, name: str, data: bytes) -> int:
        try:
            return count_px(data, max_px=self._max_px)
        except ImageSourceError as error:
            raise RequestError(f"The {what} {name!r} cannot be used: {error}") from error

    def _decoded(self, data: bytes) -> NDArray[np.uint8]:
        try:
            return decode_image(data, max_px=self._max_px)
        except ImageSourceError as error:
            raise RequestError(f"The image {self.name!r} cannot be used: {error}") from error


def _data(kept: IO[bytes]) -> bytes:
    kept.seek(0)
    return kept.read()


def _decoded_mask(data: bytes, name: str) -> NDArray[np.bool_]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mask.png"  # `read_mask` names the file in its messages
        path.write_bytes(data)
        try:
            return read_mask(path)
        except ImageError as error:
            told = str(error).replace(f"{folder}/mask.png", name)
            raise RequestError(f"The mask {name!r} cannot be used: {told}") from error

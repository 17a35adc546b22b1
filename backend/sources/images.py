"""Bytes of an image to an array (H, W, 3) uint8 RGB, upright: the only form in which images are used.

Upright means that the camera's EXIF orientation is applied, as a browser does. Only then a mask on the array lies
where the person who labels sees the object.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from backend.errors import ImageDecodeError, ImageTooLargeError
from backend.settings import ImageSettings
from backend.sources.pixel_room import PixelRoom
from converters.files.image_files import PICTURE_FORMATS, to_rgb, turn_upright


class FetchesImages(Protocol):
    """What brings the bytes of images, such as a `backend.sources.fetch.Fetcher`."""

    @property
    def limits(self) -> ImageSettings:
        """How large an image may be, and how long it may take."""
        ...

    @property
    def clock_s(self) -> Callable[[], float]:
        """The present moment in seconds."""
        ...

    def fetch(self, reference: str, *, task_id: int | None = None, within_s: float = math.inf) -> bytes:
        """Return the bytes of an image.

        Raises:
            ImageSourceError: the image may not or cannot be fetched, or has too many bytes.
        """
        ...


@dataclass(frozen=True)
class Fetched:
    """An image's bytes, and the tag (ETag) by which its server will know them again; "" if it gives none."""

    data: bytes
    tag: str = ""


@runtime_checkable
class KnowsUnchangedImages(Protocol):
    """A fetcher that can say that an image is the same without bringing it, such as `backend.sources.fetch.Fetcher`."""

    def is_lasting(self, reference: str, *, task_id: int | None = None) -> bool:
        """Return whether an address means the same bytes for as long as it exists."""
        ...

    def fetch_unless(
        self, tag: str, reference: str, *, task_id: int | None = None, within_s: float = math.inf
    ) -> Fetched | None:
        """Return an image; None if its server says that it still is the one of a tag ("": of none).

        Raises:
            ImageSourceError: as `FetchesImages.fetch` raises it.
        """
        ...


class ImageSource:
    """Fetches and decodes the images of tasks. Threads may share it."""

    def __init__(self, fetcher: FetchesImages, room: PixelRoom | None = None, *, gives_way: bool = False) -> None:
        """Open nothing yet.

        Args:
            fetcher: brings the images; its limits hold for decoding too.
            room: bounds the pixels; None: one for this source alone.
            gives_way: whether everybody else who waits for room goes first.
        """
        self.fetcher, self._gives_way = fetcher, gives_way
        self.room = PixelRoom(fetcher.limits.pixels_at_once) if room is None else room
        """Bounds the pixels that are decoded at once; whoever decodes other images takes its room here too."""

    def through(self, fetcher: FetchesImages, *, gives_way: bool = False) -> ImageSource:
        """Return a source whose images come by another fetcher and share the room for pixels with this one's.

        Where it gives way, everybody else who waits for room goes first.
        """
        return ImageSource(fetcher, self.room, gives_way=gives_way)

    @contextmanager
    def opened(
        self, reference: str, *, task_id: int | None = None, within_s: float = math.inf
    ) -> Iterator[NDArray[np.uint8]]:
        """Yield the image that a task's data refers to, (H, W, 3) uint8 RGB, upright.

        It must arrive within `within_s` and within the settings' limits. In what is left of `within_s` it waits until
        the images in the other blocks leave room for it, so do what takes memory in the block, and open no second
        image there.

        Raises:
            ImageSourceError: the image may not or cannot be fetched, is too large, or is not a picture; or there was no
                room for it in time.
        """
        asked_s = self.fetcher.clock_s()
        data = self.fetcher.fetch(reference, task_id=task_id, within_s=within_s)
        max_px = self.fetcher.limits.image_max_px
        px, left_s = count_px(data, max_px=max_px), within_s - (self.fetcher.clock_s() - asked_s)
        with self.room.taken(px, within_s=left_s, gives_way=self._gives_way):
            pixels = decode_image(data, max_px=max_px)
            del data
            yield pixels


def count_px(data: bytes, *, max_px: int) -> int:
    """Return how many pixels a picture has, by its header alone.

    Raises:
        ImageDecodeError, ImageTooLargeError: as `decode_image` raises them.
    """
    with _opened(data, max_px) as image:
        return image.width * image.height


def decode_image(data: bytes, *, max_px: int) -> NDArray[np.uint8]:
    """Return a picture as (H, W, 3) uint8 RGB: upright, transparent pixels on white, 16 bits reduced to 8.

    The size is read from the header and checked before memory for the pixels is allocated.

    Raises:
        ImageDecodeError: the bytes are not a picture in one of PICTURE_FORMATS, or the picture is damaged.
        ImageTooLargeError: the picture has more than `max_px` pixels.
    """
    with _opened(data, max_px) as image:
        return np.asarray(to_rgb(turn_upright(image)), dtype=np.uint8)


@contextmanager
def _opened(data: bytes, max_px: int) -> Iterator[Image.Image]:
    """Open a picture of an allowed size; what its reader raises, also in the block, is one of this package's errors."""
    try:
        with Image.open(io.BytesIO(data), formats=PICTURE_FORMATS) as image:
            _require_size(image.size, max_px)
            yield image
    except UnidentifiedImageError:
        start = data[:16].decode("ascii", "replace")
        raise ImageDecodeError(
            f"{len(data)} bytes that start with {start!r} are no picture in one of {', '.join(PICTURE_FORMATS)}."
        ) from None
    except Image.DecompressionBombError as error:
        raise ImageTooLargeError(f"{error} OVDIFF_IMAGE_MAX_PX allows {max_px} pixels.") from error
    except (
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
    ) as error:  # what Pillow's readers raise on damaged files
        raise ImageDecodeError(f"the picture is damaged: {error}.") from error


def _require_size(size_wh: tuple[int, int], max_px: int) -> None:
    width, height = size_wh
    if width * height > max_px:
        raise ImageTooLargeError(
            f"the picture has {width} x {height} pixels, more than {max_px} (OVDIFF_IMAGE_MAX_PX)."
        )

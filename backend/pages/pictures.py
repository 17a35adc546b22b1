"""Pictures of support images for a page: the object outlined, images that are left out pale and grey; PNG bytes.

A category's pictures are drawn together, because its support set is read whole, and the last ones are kept.
"""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from ovdiff.bank.support import SupportSet

SIDE_PX = 200
"""The longer side of a picture: a little more than it has on the page, so that the line is seen."""

MOST_KEPT = 6
"""Sets of pictures that are kept: 32 pictures of 200 px are 3 MB."""

LINE = (255, 209, 102)
HALO = (24, 32, 43)
LEFT_OUT_LINE = (150, 150, 150)
_LINE_PX, _HALO_PX = 3, 5  # widths of the filters that grow a mask: the line by 1 px to each side, the halo by 2
_PALE = 0.4  # what is left of an image that a person left out

Pictures = dict[int, bytes]
"""PNGs by the number of the support image."""


Made = TypeVar("Made")


class Kept(Generic[Made]):
    """What was made last, such as sets of pictures. Threads may share it; one makes at a time."""

    def __init__(self, most: int = MOST_KEPT) -> None:
        """Keep at most so many of them."""
        self._most, self._lock = most, threading.Lock()
        self._kept: OrderedDict[Hashable, Made] = OrderedDict()

    def of(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """Return what belongs to a key, made now if it is not kept."""
        with self._lock:
            if key not in self._kept:
                self._kept[key] = make()
                while len(self._kept) > self._most:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            return self._kept[key]


def support_pictures(support: SupportSet) -> Pictures:
    """Return a picture of each support image, with its foreground outlined; those that are left out are grey."""
    pictures = {item.number: to_png(outlined(item.image, item.foreground)) for item in support.images}
    for item in support.rejected:
        pictures[item.number] = to_png(outlined(greyed(item.image), item.foreground, LEFT_OUT_LINE))
    return pictures


def outlined(
    image: NDArray[np.uint8], mask: NDArray[np.bool_], line: tuple[int, int, int] = LINE, *, side_px: int = SIDE_PX
) -> NDArray[np.uint8]:
    """Return an image with a line around a mask, on a dark halo, so that it is seen on any ground.

    Args:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) bool.
        line: the colour of the line, RGB.
        side_px: the longer side of what is returned.

    Returns:
        (h, w, 3) uint8 RGB, of the image's proportions.
    """
    scale = side_px / max(image.shape[:2])
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    found = np.array(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
    inside = Image.fromarray(mask.astype(np.uint8) * 255).resize(size, Image.Resampling.NEAREST)
    around = inside.filter(ImageFilter.MaxFilter(_LINE_PX))
    beyond = around.filter(ImageFilter.MaxFilter(_HALO_PX))
    drawn = (np.asarray(inside.filter(ImageFilter.MinFilter(_LINE_PX))) == 0) & (np.asarray(around) > 0)
    found[(np.asarray(beyond) > 0) & (np.asarray(inside) == 0)] = HALO
    found[drawn] = line
    return found


def greyed(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the pale grey picture of an image (H, W, 3)."""
    grey = pixels.mean(axis=-1, keepdims=True)
    return np.broadcast_to(255 - (255 - grey) * _PALE, pixels.shape).round().astype(np.uint8)


def to_png(pixels: NDArray[np.uint8]) -> bytes:
    """Return an image (H, W, 3) as a PNG."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()

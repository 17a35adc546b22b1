"""The windows of a target image, in which features are computed (A.12)."""

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ovdiff.extractors.sizes import truncated_size_hw
from ovdiff.presets.segmenting_settings import WindowSettings


class Window(NamedTuple):
    """A rectangle of the working image, in px. Its weight says how often it counts."""

    top: int
    left: int
    height: int
    width: int
    weight: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """The rows and the columns of the working image that the window holds."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)

    def crop(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return this part of an (H, W, 3) image."""
        return image[self.slices]


def working_size_hw(size_hw: Sequence[int], settings: WindowSettings) -> tuple[int, int]:
    """Return the working size (h, w) in px of an image of (H, W) px; the aspect is kept.

    The short side becomes ``short_side_px``. If the long side would then exceed ``max_long_side_px``, the long side
    becomes ``max_long_side_px`` instead. The other side is rounded as ``rounding`` says.
    """
    if settings.rounding == "down":
        return truncated_size_hw(size_hw, settings.short_side_px, settings.max_long_side_px)
    height, width = size_hw
    scale = min(settings.short_side_px / min(height, width), settings.max_long_side_px / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def resize_to_working(image: NDArray[np.uint8], settings: WindowSettings) -> NDArray[np.uint8]:
    """Resize an (H, W, 3) uint8 image to its working size, by Lanczos."""
    height, width = working_size_hw(image.shape[:2], settings)
    if image.shape[:2] == (height, width):
        return image
    resized = Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS)
    return np.asarray(resized)


def plan_windows(size_hw: Sequence[int], settings: WindowSettings) -> tuple[Window, ...]:
    """Return the windows of a working image of (H, W) px.

    For each (crop, stride), windows start at every multiple of the stride, and the last window of a row or column is
    shifted back into the image. A crop that is larger than the image is cut to the image. The whole image is one more
    window. Windows that coincide are listed once, and their weight is their number, because the reference computes and
    counts each of them.
    """
    height, width = size_hw
    boxes: dict[tuple[int, int, int, int], int] = {}
    for crop, stride in settings.crops_px:
        crop_hw = min(crop, height), min(crop, width)
        for top in _starts(height, crop, stride):
            for left in _starts(width, crop, stride):
                boxes[top, left, *crop_hw] = boxes.get((top, left, *crop_hw), 0) + 1
    if settings.whole_image:
        boxes[0, 0, height, width] = boxes.get((0, 0, height, width), 0) + 1
    return tuple(Window(*box, weight=weight) for box, weight in boxes.items())


def group_by_size(windows: Sequence[Window]) -> list[tuple[Window, ...]]:
    """Return the windows in groups of one size, smaller windows first."""

    def size(window: Window) -> tuple[int, int]:
        return window.height, window.width

    return [tuple(group) for _, group in groupby(sorted(windows, key=size), key=size)]


def _starts(length: int, crop: int, stride: int) -> list[int]:
    count = max(length - crop + stride - 1, 0) // stride + 1
    return [max(0, min(index * stride, length - crop)) for index in range(count)]

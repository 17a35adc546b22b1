"""Pictures of a segmentation: an overlay to look at, and a palette picture of label ids, in the same colours."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ovdiff.segmentation import Segmentation

OPACITY = 0.5
GOLDEN_RATIO = 0.618034  # steps of it around the colour circle keep any number of hues apart
LEGEND_ROW_PX = 18
MOST_INDEXED = 255  # categories of a palette picture: 8 bits, less the background


def label_colours(count: int) -> NDArray[np.uint8]:
    """Return the colours of the label ids 0 to `count`, (1 + count, 3) uint8 RGB. The background, 0, is black."""
    return np.array([(0, 0, 0), *(_colour(index) for index in range(count))], dtype=np.uint8)


def draw_overlay(image: NDArray[np.uint8], segmentation: Segmentation, names: Sequence[str]) -> NDArray[np.uint8]:
    """Return the image with each category tinted, and below it a legend of the categories that occur.

    Args:
        image: (H, W, 3) uint8 RGB.
        segmentation: the segmentation of that image.
        names: `names[i]` is the category of label id `i + 1`.

    Returns:
        (H + rows, W, 3) uint8 RGB; the legend has 18 rows for each category.
    """
    painted = tint(image, segmentation.label_map, label_colours(len(names)))
    found = [index for index, _ in segmentation.found()]
    return np.concatenate([painted, _legend(found, segmentation, names, width=image.shape[1])])


def tint(image: NDArray[np.uint8], label_map: NDArray[np.int32], colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an image (H, W, 3) uint8 RGB, tinted where the label map (H, W) has a label.

    `colours` has a row of RGB for each label id; the first, of the background, is not used.
    """
    painted = image.copy()
    for pixels, labels in zip(painted, label_map, strict=True):  # a row at a time, because mixing needs floats
        tinted = labels > 0
        mixed = pixels[tinted] * (1 - OPACITY) + colours[labels[tinted]] * OPACITY
        pixels[tinted] = mixed.round()
    return painted


def draw_indexed(segmentation: Segmentation, count: int) -> Image.Image:
    """Return a palette picture of the image's size: its pixel values are label ids, its palette holds their colours.

    Args:
        segmentation: the segmentation; its label id `i + 1` is category i, 0 is background.
        count: how many categories there are, at most MOST_INDEXED.
    """
    picture = Image.fromarray(segmentation.label_map.astype(np.uint8))
    picture.putpalette(label_colours(count).tobytes())
    return picture


def _colour(index: int) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(index * GOLDEN_RATIO % 1.0, 0.9, 1.0)
    return round(red * 255), round(green * 255), round(blue * 255)


def _legend(found: Sequence[int], segmentation: Segmentation, names: Sequence[str], *, width: int) -> NDArray[np.uint8]:
    picture = Image.new("RGB", (width, LEGEND_ROW_PX * len(found)), "white")
    draw = ImageDraw.Draw(picture)
    for row, index in enumerate(found):
        top = row * LEGEND_ROW_PX
        draw.rectangle((2, top + 2, 14, top + 14), fill=_colour(index))
        draw.text((20, top + 2), f"{names[index]}  {segmentation.category_score(index):.2f}", fill="black")
    return np.asarray(picture, dtype=np.uint8).reshape(-1, width, 3)

"""What lies over a task's image: masks tinted in the colours of their labels, each with its outline; RGBA pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor
from scipy import ndimage

from backend.presentation.overlay import label_colours
from backend.serving.vocabulary import Output

RGB = tuple[int, int, int]

TINT = 110
OUTLINE_PX = 2
_OPAQUE = 255


def colours_of(outputs: Sequence[Output]) -> tuple[RGB, ...]:
    """Return the colour of each label: that of the label config, or one of our own where it names none that is known.

    Colours with an opacity, as rgba(255, 0, 0, 0.5), count without it.
    """
    own = label_colours(len(outputs))[1:].tolist()
    found = (_colour(output.colour) for output in outputs)
    return tuple(named or (ours[0], ours[1], ours[2]) for named, ours in zip(found, own, strict=True))


def hex_of(colour: RGB) -> str:
    """Return a colour as "#rrggbb"."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def masks_layer(regions: NDArray[np.integer], colours: Sequence[RGB], size: tuple[int, int]) -> Image.Image:
    """Return tinted masks with outlines, transparent elsewhere.

    Args:
        regions: (H, W), the number of each pixel's region from 1; 0 is outside of all.
        colours: `colours[i]` is that of region `i + 1`.
        size: (width, height) of what is returned.
    """
    small = _resized(regions, size)
    table = np.zeros((len(colours) + 1, 4), dtype=np.uint8)
    for number, colour in enumerate(colours, start=1):
        table[number] = (*colour, TINT)
    layer = table[small]
    layer[_borders(small)] += np.array([0, 0, 0, _OPAQUE - TINT], dtype=np.uint8)
    return Image.fromarray(layer, "RGBA")


def _borders(regions: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Return the pixels of regions that are near a pixel of another region, or of none."""
    width = 2 * OUTLINE_PX - 1
    lowest = ndimage.minimum_filter(regions, width, mode="nearest")
    highest = ndimage.maximum_filter(regions, width, mode="nearest")
    return np.asarray((lowest != highest) & (regions > 0))


def _resized(regions: NDArray[np.integer], size: tuple[int, int]) -> NDArray[np.int32]:
    numbers = Image.fromarray(regions.astype(np.int32))
    return np.asarray(numbers.resize(size, Image.Resampling.NEAREST), dtype=np.int32)


def _colour(text: str) -> RGB | None:
    """Return a colour of CSS without its opacity; None if it is none that Pillow knows."""
    name = text.strip()
    if name.startswith("rgba(") and name.count(",") == 3:
        name = f"rgb({name[5:].rpartition(',')[0]})"
    try:
        red, green, blue = ImageColor.getrgb(name)[:3]
    except ValueError:
        return None
    return red, green, blue

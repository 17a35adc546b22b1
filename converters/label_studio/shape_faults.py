"""Faults in the shape of one region, of any tool: masks that nobody sees, damaged data, shapes without an area."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from converters.encodings.bitmask import data_url_has_transparency, data_url_to_alpha
from converters.encodings.brush import ALPHA_THRESHOLD, Alpha, announced_pixels, brush_rle_to_alpha
from converters.errors import BrushRLEError, ConverterError
from converters.files.json_values import Json
from converters.label_studio.shapes import shape_reader

_PERCENT = "Coordinates are percent of the image's sides, 0 to 100."


@dataclass(frozen=True)
class ShapeFault:
    """One fault: its kind (one of `validate.KINDS`), what is wrong, and what to do."""

    kind: str
    what: str
    advice: str


def shape_faults(result: Json, size_hw: tuple[int, int], *, max_pixels: int) -> Iterator[ShapeFault]:
    """Yield the faults in the shape of a result; a result without a shape has none.

    Args:
        result: a result whose value is an object.
        size_hw: the height and width in pixels that the result states; they are not checked here.
        max_pixels: the largest image that is decoded.
    """
    value = result["value"]
    if "rle" in value:
        yield from _brush(value["rle"], size_hw, max_pixels)
    elif "imageDataURL" in value or "maskDataURL" in value:
        yield from _bitmask(value.get("imageDataURL", value.get("maskDataURL")), size_hw, max_pixels)
    else:
        yield from _coordinates(result, size_hw)


def _brush(rle: Any, size_hw: tuple[int, int], max_pixels: int) -> Iterator[ShapeFault]:
    try:
        alpha = brush_rle_to_alpha(rle, size_hw, max_pixels=max_pixels)
    except BrushRLEError as error:
        announced = announced_pixels(rle)
        if announced is not None and announced != size_hw[0] * size_hw[1]:
            yield ShapeFault("wrong-size", str(error), "It is painted as stripes: encode the mask at full size.")
        else:
            yield ShapeFault("truncated-mask", str(error), "The page stops at it: encode the mask again.")
    else:
        yield from _alpha(alpha)


def _bitmask(url: Any, size_hw: tuple[int, int], max_pixels: int) -> Iterator[ShapeFault]:
    try:
        alpha = data_url_to_alpha(url, size_hw, max_pixels=max_pixels)
        is_opaque = not data_url_has_transparency(url)
    except ConverterError as error:
        advice = "It is an RGBA PNG of the image's size, transparent outside, as data:image/png;base64,..."
        yield ShapeFault("truncated-mask", str(error), advice)
        return
    if is_opaque:
        advice = "Put the mask into the alpha channel: 0 outside, 255 inside."
        yield ShapeFault("opaque-mask", "the PNG has no transparency: it covers the whole image", advice)
    yield from _alpha(alpha)


def _alpha(alpha: Alpha) -> Iterator[ShapeFault]:
    highest = int(alpha.max())
    if highest == 0:
        yield ShapeFault("no-area", "the mask holds no pixel", "It is listed and invisible: leave it out.")
    elif highest < ALPHA_THRESHOLD:
        what = f"the mask's values reach {highest}, of 255: it is listed and invisible"
        yield ShapeFault("faint-mask", what, "Multiply a 0/1 mask by 255 before it is encoded.")


def _coordinates(result: Json, size_hw: tuple[int, int]) -> Iterator[ShapeFault]:
    read = shape_reader(result)
    if read is None:
        return
    try:
        mask, points = read(result["value"], size_hw)
    except ConverterError as error:
        yield ShapeFault("no-shape", str(error), _PERCENT)
        return
    if not mask.any():
        what = "the region covers no pixel of the image"
        yield ShapeFault("no-area", what, _PERCENT)
    elif points is not None and ((points < -1) | (points > (size_hw[1] + 1, size_hw[0] + 1))).any():
        what = f"points lie outside the image, from {points.min(axis=0)} to {points.max(axis=0)} in pixels"
        yield ShapeFault("outside-image", what, _PERCENT)

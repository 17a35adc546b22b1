"""Faults in the shape of one region, of any tool: masks that nobody sees, damaged data, shapes without an area."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from converters.encodings.bitmask import announced_size_hw, data_url_has_transparency, data_url_to_alpha
from converters.encodings.brush import ALPHA_THRESHOLD, Alpha, announced_pixels, brush_rle_to_alpha
from converters.encodings.polygons import Polygon, crossed_px
from converters.errors import BrushRLEError, ConverterError
from converters.files.json_values import Json, finite_number
from converters.label_studio.findings import Fault
from converters.label_studio.shapes import shape_reader, shape_tool

_PERCENT = "Coordinates are percent of the image's sides, 0 to 100."
_SIDES = {"rectangle": ("width", "height"), "ellipse": ("radiusX", "radiusY"), "keypoint": ("width",)}
_ROUNDING_PX = 1


def shape_faults(result: Json, size_hw: tuple[int, int], *, max_pixels: int) -> Iterator[Fault]:
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


def _brush(rle: Any, size_hw: tuple[int, int], max_pixels: int) -> Iterator[Fault]:
    try:
        alpha = brush_rle_to_alpha(rle, size_hw, max_pixels=max_pixels)
    except BrushRLEError as error:
        announced = announced_pixels(rle)
        if announced is not None and announced != size_hw[0] * size_hw[1]:
            yield Fault("wrong-size", str(error), "It is painted as stripes: encode the mask at full size.")
        else:
            yield Fault("truncated-mask", str(error), "The page stops at it: encode the mask again.")
    else:
        yield from _alpha(alpha)


def _bitmask(url: Any, size_hw: tuple[int, int], max_pixels: int) -> Iterator[Fault]:
    try:
        alpha = data_url_to_alpha(url, size_hw, max_pixels=max_pixels)
        is_opaque = not data_url_has_transparency(url)
    except ConverterError as error:
        kind = "truncated-mask" if announced_size_hw(url) in (None, size_hw) else "wrong-size"
        advice = "It is a PNG of the image's size, transparent outside, as data:image/png;base64,..."
        yield Fault(kind, str(error), advice)
        return
    if is_opaque:
        advice = "Put the mask into the alpha channel: 0 outside, 255 inside."
        yield Fault("opaque-mask", "the PNG has no transparency: it covers the whole image", advice)
    yield from _alpha(alpha)


def _alpha(alpha: Alpha) -> Iterator[Fault]:
    highest = int(alpha.max())
    if highest == 0:
        yield Fault("no-area", "the mask holds no pixel", "It is listed and invisible: leave it out.")
    elif highest < ALPHA_THRESHOLD:
        what = f"the mask's values reach {highest}, of 255: it is listed and invisible"
        yield Fault("faint-mask", what, "Multiply a 0/1 mask by 255 before it is encoded.")


def _coordinates(result: Json, size_hw: tuple[int, int]) -> Iterator[Fault]:
    value, tool = result["value"], shape_tool(result["value"])
    for key in _SIDES.get(tool or "", ()):
        side = finite_number(value[key])
        if side is not None and side < 0:
            what = f"expected {key!r} of 0 or more percent, got {value[key]!r:.40}"
            yield Fault("negative-side", what, "Put x and y at the top left corner, and make the side positive.")
            return
    if tool == "keypoint":
        yield from _keypoint(value, size_hw)
        return
    read = shape_reader(result)
    if read is None:
        return
    try:
        mask, points = read(value, size_hw)
    except ConverterError as error:
        yield Fault("no-shape", str(error), _PERCENT)
        return
    if points is not None:
        yield from _outline(value, points, size_hw)
    if not mask.any():
        yield Fault("no-area", "the region covers no pixel of the image", _PERCENT)
    elif points is not None:
        yield from _outside(points, size_hw)
    elif tool == "rectangle" and not value.get("rotation"):
        x, y, width, height = (float(value[key]) for key in ("x", "y", "width", "height"))
        yield from _outside(_pixels([(x, y), (x + width, y + height)], size_hw), size_hw)


def _outline(value: Json, points: Polygon, size_hw: tuple[int, int]) -> Iterator[Fault]:
    closed = value.get("closed", True)
    if not isinstance(closed, bool):
        yield Fault("bad-field", f"expected 'closed' to be true or false, got {closed!r:.40}", "Say true.")
    elif not closed:
        yield Fault("open-polygon", "the polygon is not closed", "It is drawn as a line without an inside: say true.")
    if crossed := crossed_px(points, size_hw):
        what = f"the outline crosses itself: it goes around {crossed} pixels twice, or the other way round"
        advice = "Programs fill such polygons differently: put the points in the order of the outline."
        yield Fault("crossing-polygon", what, advice)


def _keypoint(value: Json, size_hw: tuple[int, int]) -> Iterator[Fault]:
    x, y, width = (finite_number(value[key]) for key in ("x", "y", "width"))
    if x is None or y is None or width is None:
        got = [value[key] for key in ("x", "y", "width")]
        yield Fault("no-shape", f"expected numbers for x, y and width, got {got!r:.80}", _PERCENT)
    else:
        yield from _outside(_pixels([(x, y)], size_hw), size_hw)


def _pixels(percents: Sequence[tuple[float, float]], size_hw: tuple[int, int]) -> Polygon:
    points: Polygon = np.array(percents) * (size_hw[1] / 100, size_hw[0] / 100)
    return points


def _outside(points: Polygon, size_hw: tuple[int, int]) -> Iterator[Fault]:
    """Yield a fault if a point, (x, y) in pixels, lies more than rounding outside the image."""
    sides = np.array(size_hw[::-1])
    if ((points < -_ROUNDING_PX) | (points > sides + _ROUNDING_PX)).any():
        what = f"points lie outside the image, from {points.min(axis=0)} to {points.max(axis=0)} in pixels"
        yield Fault("outside-image", what, _PERCENT)

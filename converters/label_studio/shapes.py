"""The shape in the value of a Label Studio region, of any drawing tool, as a mask.

    {"format": "rle", "rle": [...]}                      brush
    {"imageDataURL": "data:image/png;base64,..."}        bitmask ("maskDataURL" in a brush region)
    {"points": [[x, y], ...]}                            polygon
    {"x", "y", "width", "height", "rotation"}            rectangle: rotation about its top left corner
    {"x", "y", "radiusX", "radiusY", "rotation"}         ellipse: rotation about its centre

Coordinates are percent of the image's width and height; rotations are degrees, clockwise. Coordinates always belong to
the unrotated image, whatever the region's `image_rotation` says, because turning an image turns only the view (Label
Studio 1.23.2, Image.js `rotate`, canvas.js `exportRLE`). So nothing has to be turned back.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from converters.encodings.bitmask import data_url_to_mask
from converters.encodings.brush import brush_rle_to_mask
from converters.encodings.coco_rle import box_in_image
from converters.encodings.masks import Mask
from converters.encodings.polygons import Polygon, polygons_to_mask
from converters.errors import LabelStudioFormatError
from converters.files.json_values import Json, finite_number

Shape = tuple[Mask, Polygon | None]
"""The mask, (H, W) bool, and the points, (n, 2) in pixels, if the region was drawn as a polygon."""

ShapeReader = Callable[[Json, tuple[int, int]], Shape]
"""A function from the value of a region and the image's (height, width) to the region's shape.

It raises ConverterError. The caller must have compared the size with its own limit of pixels."""

_ELLIPSE_VERTICES = 360


def shape_reader(result: Json) -> ShapeReader | None:
    """Return the function that reads the shape of a result, None if the result has no shape.

    The keys of the value decide, as they do in Label Studio's editor.
    """
    value = result.get("value")
    if not isinstance(value, Mapping):
        return None
    return next((read for keys, _, read in _SHAPE_READERS if keys <= value.keys()), None)


def shape_tool(value: Json) -> str | None:
    """Return the tool that draws the shape in a region's value, for example "polygon"; None if there is no shape."""
    if {"x", "y", "width"} <= value.keys() and "height" not in value:
        return "keypoint"
    return next((tool for keys, tool, _ in _SHAPE_READERS if keys <= value.keys()), None)


def shape_of(result: Json) -> Json:
    """Return the keys of a result's value that make its shape, {} if it has no shape."""
    value = result.get("value")
    return {key: value[key] for key in value if key in _SHAPE_KEYS} if isinstance(value, Mapping) else {}


def upright_box(value: Json, size_hw: tuple[int, int]) -> tuple[float, float, float, float] | None:
    """Return [x, y, width, height] in pixels if the value is a rectangle that is not turned, else None.

    What sticks out of the image is cut off: readers of datasets refuse a box that does, and some of them its image.
    """
    if shape_reader({"value": value}) is not _rectangle or finite_number(value.get("rotation", 0)) != 0:
        return None
    return box_in_image(_pixels(value, ("x", "y", "width", "height"), size_hw), size_hw)


def _brush(value: Json, size_hw: tuple[int, int]) -> Shape:
    return brush_rle_to_mask(value["rle"], size_hw, max_pixels=math.prod(size_hw)), None


def _bitmask(value: Json, size_hw: tuple[int, int]) -> Shape:
    return data_url_to_mask(value["imageDataURL"], size_hw, max_pixels=math.prod(size_hw)), None


def _mask_url(value: Json, size_hw: tuple[int, int]) -> Shape:
    return data_url_to_mask(value["maskDataURL"], size_hw, max_pixels=math.prod(size_hw)), None


def _polygon(value: Json, size_hw: tuple[int, int]) -> Shape:
    try:
        points = np.asarray(value["points"], dtype=np.float64)
        points = points * (size_hw[1] / 100, size_hw[0] / 100)
    except (TypeError, ValueError, OverflowError) as error:
        raise LabelStudioFormatError(f"expected polygon points as pairs of percent: {error}") from error
    return _drawn(points, size_hw), points


def _rectangle(value: Json, size_hw: tuple[int, int]) -> Shape:
    x, y, width, height = _pixels(value, ("x", "y", "width", "height"), size_hw)
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)])
    return _drawn(_turned(corners, value) + np.array((x, y)), size_hw), None


def _ellipse(value: Json, size_hw: tuple[int, int]) -> Shape:
    x, y, radius_x, radius_y = _pixels(value, ("x", "y", "radiusX", "radiusY"), size_hw)
    angles = np.arange(_ELLIPSE_VERTICES) * (2 * np.pi / _ELLIPSE_VERTICES)
    outline = np.stack((radius_x * np.cos(angles), radius_y * np.sin(angles)), axis=1)
    return _drawn(_turned(outline, value) + np.array((x, y)), size_hw), None


def _drawn(points: Polygon, size_hw: tuple[int, int]) -> Mask:
    return polygons_to_mask([points], size_hw, max_pixels=math.prod(size_hw))


def _pixels(value: Json, keys: Sequence[str], size_hw: tuple[int, int]) -> list[float]:
    """Return values in percent as pixels; the keys belong to x and y in turn."""
    percents = [finite_number(value[key]) for key in keys]
    if None in percents:
        raise LabelStudioFormatError(f"expected numbers for {keys}, got {[value[key] for key in keys]!r:.80}")
    sides = (size_hw[1], size_hw[0])
    return [float(p) * sides[i % 2] / 100 for i, p in enumerate(percents) if p is not None]


def _turned(points: Polygon, value: Json) -> Polygon:
    """Turn points clockwise about (0, 0) by the value's `rotation` in degrees."""
    rotation = finite_number(value.get("rotation", 0))
    if rotation is None:
        raise LabelStudioFormatError(f"expected 'rotation' in degrees, got {value['rotation']!r:.40}")
    angle = math.radians(rotation)
    cosine, sine = math.cos(angle), math.sin(angle)
    turned: Polygon = points @ np.array([(cosine, sine), (-sine, cosine)])
    return turned


_SHAPE_READERS: tuple[tuple[frozenset[str], str, ShapeReader], ...] = (
    (frozenset({"rle"}), "brush", _brush),
    (frozenset({"imageDataURL"}), "bitmask", _bitmask),
    (frozenset({"maskDataURL"}), "brush", _mask_url),
    (frozenset({"points"}), "polygon", _polygon),
    (frozenset({"x", "y", "radiusX", "radiusY"}), "ellipse", _ellipse),
    (frozenset({"x", "y", "width", "height"}), "rectangle", _rectangle),
)
_SHAPE_KEYS = frozenset({"rotation"}).union(*(keys for keys, _, _ in _SHAPE_READERS))

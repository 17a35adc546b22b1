"""Masks for a click or a rectangle that somebody draws in the editor.

The person chooses the place and the label; the segmentation supplies the shape. A click selects the connected part of
the segmentation under it. A rectangle selects the pixels inside it. If the segmentation gives the place to another
category, the shape is still offered, but with the person's label: the person knows better what the object is, and the
segmentation knows better where it ends.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.errors import RequestError
from converters.encodings.masks import Mask, label_parts
from converters.encodings.polygons import polygons_to_mask
from ovdiff.segmentation import Segmentation

FARTHEST = 1e6  # percent of the image, or degrees: what is drawn beyond the image's edge is near it


@dataclass(frozen=True)
class Prompt:
    """A point or a rectangle that somebody drew to ask for a mask; coordinates are percent of the image.

    Attributes:
        image: the name of the `<Image>` tag of the image it was drawn on.
        label: the label that the person had chosen.
        x, y: the point, or the first corner of the rectangle, about which the rectangle is rotated.
        width, height: the size of the rectangle; 0 for a point.
        rotation: the rotation of the rectangle in degrees, clockwise.
        is_point: whether it is a point rather than a rectangle.
        is_positive: False if it was drawn with Alt held, which means "not this".
    """

    image: str
    label: str
    x: float
    y: float
    width: float
    height: float
    rotation: float
    is_point: bool
    is_positive: bool


def read_prompt(context: Mapping[str, Any]) -> Prompt | None:
    """Return the prompt that was drawn last, or None if nothing was drawn.

    Label Studio sends all regions of the same control and label, predicted regions too; the new region is the last.

    Raises:
        RequestError: the region is not a point or a rectangle with coordinates and a label.
    """
    regions = context.get("result") or []
    if not isinstance(regions, list) or not all(isinstance(region, dict) for region in regions):
        raise RequestError("context.result is no list of regions")
    drawn = [region for region in regions if region.get("origin") != "prediction"]
    if not drawn:
        return None
    return _region_to_prompt(drawn[-1])


def _region_to_prompt(region: Mapping[str, Any]) -> Prompt:
    kind = region.get("type")
    if kind not in ("keypointlabels", "rectanglelabels"):
        raise RequestError(f"a region of type {kind!r} cannot ask for a mask; expected a keypoint or a rectangle")
    is_point = kind == "keypointlabels"
    try:
        value = region["value"]
        size = (0.0, 0.0) if is_point else (_number(value["width"]), _number(value["height"]))
        return Prompt(
            image=_name(region["to_name"]),
            label=_name(value[kind][0]),
            x=_number(value["x"]),
            y=_number(value["y"]),
            width=size[0],
            height=size[1],
            rotation=_number(value.get("rotation") or 0.0),
            is_point=is_point,
            is_positive=region.get("is_positive") is not False,
        )
    except (KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
        raise RequestError(f"the drawn {kind} lacks a place or a label ({error!r:.200})") from error


def _number(value: Any) -> float:
    """Return a coordinate in percent, or an angle in degrees."""
    number = float(value)
    if not abs(number) <= FARTHEST:
        raise ValueError(f"{number} is no coordinate")
    return number


def _name(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} is no name")
    return value


def prompt_to_mask(prompt: Prompt, segmentation: Segmentation, labels: Sequence[str]) -> Mask:
    """Return the (H, W) bool mask that a prompt asks for.

    The mask is empty where the prompt meets only background, and for a prompt that means "not this".

    Args:
        prompt: the point or rectangle.
        segmentation: the segmentation of the whole image.
        labels: `labels[i]` is the label of the segmentation's label id `i + 1`.
    """
    label_map = segmentation.label_map
    if not prompt.is_positive:
        return np.zeros(label_map.shape, dtype=np.bool_)
    chosen = labels.index(prompt.label) + 1 if prompt.label in labels else 0
    if prompt.is_point:
        return _part_under(segmentation, *_pixel(prompt, label_map.shape))
    return _inside(label_map, _rectangle(prompt, label_map.shape), chosen)


def _part_under(segmentation: Segmentation, row: int, column: int) -> Mask:
    """Return the object at a pixel; if there is none, the connected part, of the pixel's label, that holds it."""
    label_map, instance_map = segmentation.label_map, segmentation.instance_map
    label = label_map[row, column]
    if label == 0:
        return np.zeros(label_map.shape, dtype=np.bool_)
    if instance_map is not None and instance_map[row, column] > 0:
        return np.asarray(instance_map == instance_map[row, column])
    parts, _ = label_parts(label_map == label)
    return np.asarray(parts == parts[row, column])


def _inside(label_map: NDArray[np.int32], area: Mask, chosen: int) -> Mask:
    """Return the pixels of the chosen label in an area; if there are none, those of the area's most frequent label."""
    counts = np.bincount(label_map[area], minlength=chosen + 1)
    counts[0] = 0
    label = chosen if counts[chosen] else int(counts.argmax())
    return np.asarray(area & (label_map == label) & (label_map > 0))


def _pixel(prompt: Prompt, size_hw: tuple[int, ...]) -> tuple[int, int]:
    """Return the row and column of a point; a point on the edge of the image becomes the nearest pixel inside."""
    height, width = size_hw
    row, column = int(prompt.y / 100 * height), int(prompt.x / 100 * width)
    return min(max(row, 0), height - 1), min(max(column, 0), width - 1)


def _rectangle(prompt: Prompt, size_hw: tuple[int, ...]) -> Mask:
    """Return the (H, W) mask of a rectangle, rotated about its first corner as Label Studio does."""
    height, width = size_hw
    corner = np.array([prompt.x / 100 * width, prompt.y / 100 * height])
    across_px, down_px = prompt.width / 100 * width, prompt.height / 100 * height
    angle = math.radians(prompt.rotation)
    right = across_px * np.array([math.cos(angle), math.sin(angle)])
    down = down_px * np.array([-math.sin(angle), math.cos(angle)])
    polygon = np.stack([corner, corner + right, corner + right + down, corner + down])
    return polygons_to_mask([polygon], (height, width))

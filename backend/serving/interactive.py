"""Answers to a click or a rectangle that somebody draws in the editor to ask for a mask.

The person says where and which label; the segmentation says which shape is there. A click takes the
connected part under it, a rectangle what lies inside it. If the segmentation took the place for another
category, the shape is still offered, under the person's label: the person knows better what it is, the
machine where it ends.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.errors import RequestError
from converters.encodings.masks import label_parts, polygons_to_mask
from ovdiff.segmentation import Segmentation

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Prompt:
    """What somebody drew: a point (width and height 0) or a rectangle, in percent of the image.

    Attributes:
        image: name of the `<Image>` tag it was drawn on.
        label: the label that was chosen.
        x, y: the point, or the rectangle's first corner, about which it is rotated.
        width, height: 0 for a point.
        rotation: clockwise degrees.
        is_point: a point rather than a rectangle.
        is_positive: False if drawn with Alt held, "not this".
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
    """Return what was drawn last, or None if nothing was.

    Label Studio sends all regions of the same control and label, predicted ones too; the new one is the last.

    Raises:
        RequestError: the region is not a point or rectangle with numbers and a label.
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
            image=str(region["to_name"]),
            label=str(value[kind][0]),
            x=_number(value["x"]),
            y=_number(value["y"]),
            width=size[0],
            height=size[1],
            rotation=_number(value.get("rotation") or 0.0),
            is_point=is_point,
            is_positive=region.get("is_positive") is not False,
        )
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise RequestError(f"the drawn {kind} lacks a place or a label ({error!r})") from error


def _number(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{number} is no coordinate")
    return number


def prompt_to_mask(prompt: Prompt, segmentation: Segmentation, labels: Sequence[str]) -> Mask:
    """Return the (H, W) mask that a prompt asks for; empty if there is only background, or for "not this".

    Args:
        prompt: what was drawn.
        segmentation: of the whole image.
        labels: `labels[i]` is the label that the segmentation's `i + 1` stands for.
    """
    label_map = segmentation.label_map
    if not prompt.is_positive:
        return np.zeros(label_map.shape, dtype=np.bool_)
    chosen = labels.index(prompt.label) + 1 if prompt.label in labels else 0
    if prompt.is_point:
        return _part_under(label_map, *_pixel(prompt, label_map.shape))
    return _inside(label_map, _rectangle(prompt, label_map.shape), chosen)


def _part_under(label_map: NDArray[np.int32], row: int, column: int) -> Mask:
    """Return the connected part of the label at a pixel."""
    label = label_map[row, column]
    if label == 0:
        return np.zeros(label_map.shape, dtype=np.bool_)
    parts, _ = label_parts(label_map == label)
    return np.asarray(parts == parts[row, column])


def _inside(label_map: NDArray[np.int32], area: Mask, chosen: int) -> Mask:
    """Return what the chosen label covers in an area; if nothing, what the most frequent label covers."""
    counts = np.bincount(label_map[area], minlength=chosen + 1)
    counts[0] = 0
    label = chosen if counts[chosen] else int(counts.argmax())
    return np.asarray(area & (label_map == label) & (label_map > 0))


def _pixel(prompt: Prompt, size_hw: tuple[int, ...]) -> tuple[int, int]:
    """Return row and column of a point, on the image even if the pointer was on its edge."""
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

"""Masks as Label Studio regions, in the form its editor shows and its validator accepts.

With brushes and bitmasks each category is one region, because hundreds of regions freeze the editor; or each object, if
the segmentation has objects. With polygons and rectangles each connected part of it is a region, because these forms
cannot hold several parts. Sizes are pixels of the
upright original image; Label Studio's coordinates are percent of its width and height.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from backend.serving.predicting.limits import least_score, shown_score, within_limits
from backend.serving.vocabulary import Output
from backend.settings import OutputSettings
from converters.encodings.bitmask import mask_to_data_url
from converters.encodings.brush import mask_to_brush_rle
from converters.encodings.masks import Mask, part_boxes_xywh, remove_small_parts
from converters.encodings.polygons import Polygon, mask_to_polygons
from ovdiff.segmentation import Segmentation

logger = logging.getLogger(__name__)

RegionResult = dict[str, Any]
"""One region as Label Studio has it in a prediction's `result`."""

ID_DIGITS = 10
DECIMALS = 4  # of percent: a hundredth of a pixel in a picture 10 000 pixels wide


@dataclass(frozen=True)
class RegionList:
    """The regions of one image.

    Attributes:
        regions: the regions to write.
        omitted: a message about regions that were left out to keep the budget; "" if none were.
        hidden: for each category of which something was hidden as limits ask for, what and why.
    """

    regions: tuple[RegionResult, ...]
    omitted: str = ""
    hidden: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Sized:
    """A region, or the `value` of a region, and how many pixels it covers."""

    content: RegionResult
    area_px: float


def segmentation_to_regions(
    segmentation: Segmentation, outputs: Sequence[Output], settings: OutputSettings, *, task_id: object
) -> RegionList:
    """Return the regions of one segmented image, without what is below the limits of its label.

    Args:
        segmentation: the segmentation; its label id `i + 1` is `outputs[i].category`. If it has objects, each of them
            becomes a region with its own score.
        outputs: the control and label with which each category is drawn.
        settings: the precision of outlines, the least score, and the budget of regions and bytes.
        task_id: the id of the task. It is hashed into the ids of the regions: these stay the same from one prediction
            of a task to the next, and differ between tasks.
    """
    segmentation, hidden = within_limits(segmentation, outputs)
    regions: dict[int, list[_Sized]] = {}
    for found_object in segmentation.objects():
        of_category = regions.setdefault(found_object.index, [])
        output, score, first = outputs[found_object.index], found_object.score, len(of_category)
        of_category += _sized_regions(found_object.mask, output, settings, score=score, key=task_id, first=first)
    shown: list[_Sized] = []
    for index, sized in regions.items():
        least, by = least_score(outputs[index], settings)
        low = [region for region in sized if region.content["score"] < least]
        shown += [region for region in sized if region.content["score"] >= least]
        if low:
            hidden.append(f"{outputs[index].label}: {_scores(low)}, below {by}={least:g}")
    found = _within_budget(shown, settings)
    return replace(found, hidden=tuple(hidden))


def _scores(regions: Sequence[_Sized]) -> str:
    """Return the scores of regions as text, each once."""
    scores = [f"{score:g}" for score in dict.fromkeys(region.content["score"] for region in regions)]
    return f"{'score' if len(scores) == 1 else 'scores'} {', '.join(scores)}"


def mask_to_regions(
    mask: Mask, output: Output, settings: OutputSettings, *, score: float, key: object
) -> list[RegionResult]:
    """Return the regions that show a mask in one control; none if all parts of the mask are too small for the control.

    Args:
        mask: (H, W) bool, of the whole image.
        output: the control and label to draw the mask with.
        settings: the precision of outlines, and the area below which a part becomes no polygon or rectangle.
        score: the confidence in [0, 1]; the editor shows it in its list of regions.
        key: hashed into the ids of the regions, together with control, label and the number of the part.
    """
    return [sized.content for sized in _sized_regions(mask, output, settings, score=score, key=key)]


def _sized_regions(
    mask: Mask, output: Output, settings: OutputSettings, *, score: float, key: object, first: int = 0
) -> list[_Sized]:
    """Return the regions of one mask; their ids are numbered from `first` on, after those of the category's others."""
    height, width = mask.shape
    shared = {
        "from_name": output.control,
        "to_name": output.image.name,
        "type": output.control_kind,
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "score": shown_score(score),
    }
    return [
        _Sized(
            {
                "id": _region_id(key, output, number),
                **shared,
                "value": value.content | {output.control_kind: [output.label]},
            },
            value.area_px,
        )
        for number, value in enumerate(_VALUES[output.control_kind](mask, settings), start=first)
    ]


def _brush_values(mask: Mask, settings: OutputSettings) -> list[_Sized]:
    return [_Sized({"format": "rle", "rle": mask_to_brush_rle(mask)}, np.count_nonzero(mask))]


def _bitmask_values(mask: Mask, settings: OutputSettings) -> list[_Sized]:
    return [_Sized({"imageDataURL": mask_to_data_url(mask)}, np.count_nonzero(mask))]


def _polygon_values(mask: Mask, settings: OutputSettings) -> list[_Sized]:
    """Return one outline for each part. Holes are lost, because this control cannot show them."""
    percent = 100.0 / np.array(mask.shape[::-1], dtype=np.float64)
    parts = remove_small_parts(mask, settings.min_part_px)
    polygons = mask_to_polygons(parts, settings.polygon_tolerance_px, settings.polygon_max_vertices)
    return [
        _Sized({"points": (polygon * percent).round(DECIMALS).tolist(), "closed": True}, _polygon_area_px(polygon))
        for polygon in polygons
    ]


def _polygon_area_px(polygon: Polygon) -> float:
    """Return the area inside an (n, 2) outline, by the shoelace formula."""
    x, y = polygon.T
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)


def _rectangle_values(mask: Mask, settings: OutputSettings) -> list[_Sized]:
    """Return the bounding box of each part."""
    height, width = mask.shape
    return [
        _Sized(
            {
                "x": 100.0 * x / width,
                "y": 100.0 * y / height,
                "width": 100.0 * box_width / width,
                "height": 100.0 * box_height / height,
                "rotation": 0,
            },
            box_width * box_height,
        )
        for x, y, box_width, box_height in part_boxes_xywh(remove_small_parts(mask, settings.min_part_px))
    ]


_VALUES: dict[str, Callable[[Mask, OutputSettings], list[_Sized]]] = {
    "brushlabels": _brush_values,
    "bitmasklabels": _bitmask_values,
    "polygonlabels": _polygon_values,
    "rectanglelabels": _rectangle_values,
}


def _region_id(key: object, output: Output, number: int) -> str:
    parts = [str(key), output.image.name, output.control, output.label, number]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:ID_DIGITS]


def _within_budget(sized: Sequence[_Sized], settings: OutputSettings) -> RegionList:
    """Keep the largest regions until the budget of regions and bytes is used up; the kept regions stay in order."""
    kept: set[int] = set()
    used_bytes = 0
    for index in sorted(range(len(sized)), key=lambda i: -sized[i].area_px):
        size = len(json.dumps(sized[index].content))
        if len(kept) < settings.max_regions and used_bytes + size <= settings.max_result_bytes:
            kept.add(index)
            used_bytes += size
    regions = tuple(item.content for index, item in enumerate(sized) if index in kept)
    if len(kept) == len(sized):
        return RegionList(regions)
    omitted = (
        f"{len(sized) - len(kept)} of {len(sized)} regions left out: more than {settings.max_regions} "
        f"regions (OVDIFF_MAX_REGIONS) or {settings.max_result_bytes} bytes (OVDIFF_MAX_RESULT_BYTES)"
    )
    logger.warning("%s.", omitted)
    return RegionList(regions, omitted)

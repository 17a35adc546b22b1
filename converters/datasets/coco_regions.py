"""The annotations of one image in a COCO file as regions.

Polygons are filled as pycocotools fills them. An annotation that has a box alone becomes a box. An annotation that
cannot be read is left out and counted, and so is a part of a polygon that has fewer than three points.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from pycocotools import mask as coco_mask

from converters.datasets.coco import MAX_OUTLINE_PX
from converters.datasets.coco_details import details_of, score_of
from converters.datasets.coco_index import CocoIndex, coco_id
from converters.encodings.coco_rle import (
    CocoRLE,
    box_in_image,
    box_to_coco_rle,
    coco_rle_area,
    coco_rle_to_mask,
    mask_to_coco_rle,
)
from converters.encodings.polygons import outline_length_px
from converters.errors import CocoError, ConverterError
from converters.files.json_values import Json, finite_number
from converters.records import LeftOut, Region

_BEYOND = 4  # a polygon may stick out of its image by this many times its longer side


@dataclass(frozen=True)
class FoundRegions:
    """What was read from the annotations of one image.

    Attributes:
        regions: the regions.
        sources: the annotations that each region was made of, by the region's id.
        left_out: the annotations that could not be read.
        incomplete: the parts that were left out of annotations that could be read.
    """

    regions: tuple[Region, ...]
    sources: Mapping[str, tuple[Json, ...]]
    left_out: tuple[LeftOut, ...]
    incomplete: tuple[LeftOut, ...]


def read_regions(annotations: Sequence[Json], size_hw: tuple[int, int], index: CocoIndex, where: str) -> FoundRegions:
    """Read the annotations of one image; those that share `region_id` and shape become one region with all labels.

    Args:
        annotations: the image's annotations in a COCO dataset.
        size_hw: height and width of the image in pixels.
        index: the file's index, for the names of categories and of their keypoints.
        where: words that say which image it is, for `left_out`.
    """
    regions: dict[str, Region] = {}
    sources: dict[str, tuple[Json, ...]] = {}
    by_shape: dict[tuple[str, str], str] = {}
    left_out: list[LeftOut] = []
    incomplete: list[LeftOut] = []
    for annotation in annotations:
        place = f"{where}, annotation {annotation.get('id')!r:.40}"
        try:
            new, faults = _region(annotation, size_hw, index)
        except ConverterError as error:
            left_out.append(LeftOut("unreadable annotation", f"{place}: {error}"))
            continue
        incomplete += [LeftOut(reason, f"{place}: {what}") for reason, what in faults]
        shape = (new.id, new.rle["counts"])
        if shape in by_shape:  # the same region under another label
            region_id = by_shape[shape]
            joined = dict.fromkeys((*regions[region_id].labels, *new.labels))
            regions[region_id] = replace(regions[region_id], labels=tuple(joined))
        else:
            region_id = _free_id(new.id, regions)
            regions[region_id] = replace(new, id=region_id)
        by_shape[shape] = region_id
        sources[region_id] = (*sources.get(region_id, ()), annotation)
    return FoundRegions(tuple(regions.values()), sources, tuple(left_out), tuple(incomplete))


def is_box_alone(annotation: Json) -> bool:
    """Tell whether an annotation has a box and no segmentation, as [], [[]] and null are none."""
    return annotation.get("segmentation") in (None, [], {}, [[]], "") and isinstance(annotation.get("bbox"), list)


def _free_id(wanted: str, taken: Mapping[str, Region]) -> str:
    """Return an id that no other region of the image has; the parts of one region come with one id."""
    number, found = len(taken), wanted
    while found in taken:
        number += 1
        found = f"{wanted}-{number}"
    return found


def _region(annotation: Json, size_hw: tuple[int, int], index: CocoIndex) -> tuple[Region, list[tuple[str, str]]]:
    """Return the region of an annotation, and (reason, what) of all that was left out of it."""
    category_id = coco_id(annotation.get("category_id"))
    if category_id is None or category_id not in index.names:
        raise CocoError(f"expected the id of a category, got {annotation.get('category_id')!r:.40}")
    faults: list[str] = []
    box = _box(annotation["bbox"], size_hw) if is_box_alone(annotation) else None
    rle = _rle(annotation.get("segmentation"), size_hw, faults) if box is None else box_to_coco_rle(box, size_hw)
    if rle["size"] != list(size_hw):
        raise CocoError(f"expected a segmentation of {list(size_hw)} (height, width), got {rle['size']}")
    if not coco_rle_area(rle):
        raise CocoError("expected a segmentation or box around the centre of a pixel or more, got none")
    origin = annotation.get("origin")
    details = details_of(annotation, index.keypoints[category_id])
    score, unfit_score = score_of(annotation)
    region = Region(
        id=str(annotation.get("region_id") or annotation.get("id")),
        labels=(index.names[category_id],),
        control="",
        rle=rle,
        score=score,
        origin=origin if isinstance(origin, str) else None,
        box_xywh=box,
        is_crowd=details.is_crowd,
        keypoints=details.keypoints,
        answers=details.answers,
    )
    unread_parts = [("part of a polygon that cannot be read", fault) for fault in faults]
    return region, [*unread_parts, *details.faults, *([unfit_score] if unfit_score else [])]


def _box(values: Any, size_hw: tuple[int, int]) -> tuple[float, float, float, float]:
    """Return a box in pixels, cut at the borders of the image."""
    numbers = [number for value in values if (number := finite_number(value)) is not None]
    if len(values) != 4 or len(numbers) != 4 or min(numbers[2:]) <= 0:
        raise CocoError(f"expected a box as [x, y, width, height] in pixels, got {values!r:.60}")
    return box_in_image(numbers, size_hw)


def _rle(segmentation: Any, size_hw: tuple[int, int], faults: list[str]) -> CocoRLE:
    """Check a segmentation of any form, and return it as compressed RLE; add what is wrong with a part to `faults`."""
    if isinstance(segmentation, Mapping):
        return mask_to_coco_rle(coco_rle_to_mask(segmentation, max_pixels=math.prod(size_hw)))
    polygons: list[list[float]] = []
    for points in segmentation if isinstance(segmentation, list) else []:
        try:
            polygons.append(_flat_polygon(points, size_hw))
        except CocoError as error:
            faults.append(str(error))
    if not polygons:
        nothing = f"expected a segmentation as RLE or polygons, got {segmentation!r:.60}"
        raise CocoError((*faults, nothing)[0])
    merged = coco_mask.merge(coco_mask.frPyObjects(cast(Any, polygons), size_hw[0], size_hw[1]))
    counts = merged["counts"]
    return {"size": list(size_hw), "counts": counts.decode("ascii") if isinstance(counts, bytes) else counts}


def _flat_polygon(points: Any, size_hw: tuple[int, int]) -> list[float]:
    """Return a polygon as [x, y, x, y, ...].

    Its length is bounded, because pycocotools walks along every edge pixel by pixel.
    """
    numbers = [finite_number(value) for value in points] if isinstance(points, list) else []
    limit = _BEYOND * max(size_hw)
    flat = [value for value in numbers if value is not None and abs(value) <= limit]
    if len(flat) < len(numbers) or len(flat) < 6 or len(flat) % 2:
        raise CocoError(
            f"expected polygons of 3 or more x, y pairs within {limit} pixels of the image, got {points!r:.60}"
        )
    length_px = outline_length_px(np.array(flat).reshape(-1, 2))
    if length_px > MAX_OUTLINE_PX:
        raise CocoError(f"expected a polygon with an outline of at most {MAX_OUTLINE_PX} pixels, got {length_px:.0f}")
    return flat

"""Records to COCO instances: one region is one annotation, holes and negatives kept, nothing lost in silence.

    {"info", "images": [{id, file_name, width, height, task_id}],
     "categories": [{id, name, supercategory}],
     "annotations": [{id, image_id, category_id, segmentation, area, bbox, iscrowd, region_id, origin?, score?}]}

Segmentations are compressed RLE, or polygons where asked for (a region with holes stays RLE: COCO polygons
cannot have any). Area and box are pycocotools'. Ids count from 1 in the order of the records; category ids are
`records.categories_of`'s. Loadable by pycocotools; the extra keys are left alone by it.
"""

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from pycocotools import mask as coco_mask

from converters.coco_rle import CocoRLE, coco_rle_area, coco_rle_bbox_xywh, coco_rle_to_mask, mask_to_coco_rle
from converters.errors import CocoError
from converters.image_files import SizeLookup
from converters.masks import Mask, Polygon, has_holes, mask_iou, mask_to_polygons, split_parts
from converters.records import Category, ImageRecord, Region
from converters.selection import SelectedImage, Selection, Tally, labelled_regions, require_distinct, select_images

CocoDataset = dict[str, Any]

_DECIMALS = 3  # of polygon coordinates in pixels


@dataclass(frozen=True)
class CocoOptions(Selection):
    """What goes into a COCO file (see `Selection`), and how.

    Attributes:
        split_parts: one annotation for each connected part (True), or one for each region.
        segmentation: "rle", or "polygons" where there is no hole.
        tolerance_px: how far a polygon's corner may lie from the region's outline, in pixels.
        max_vertices: at most so many points a polygon.
    """

    split_parts: bool = False
    segmentation: Literal["rle", "polygons"] = "rle"
    tolerance_px: float = 1.0
    max_vertices: int | None = None


@dataclass(frozen=True)
class CocoCounts:
    """What went in and what came out.

    `left_out` says how often something was left behind and why; `details` where (the first 100 of them).
    `lowest_polygon_iou` is the worst agreement of a polygon with its region, 1.0 if none was drawn.
    """

    images_in: int
    images_out: int
    regions_in: int
    annotations_out: int
    left_out: Mapping[str, int]
    details: tuple[str, ...]
    lowest_polygon_iou: float = 1.0


def records_to_coco(
    records: Iterable[ImageRecord],
    categories: Sequence[Category],
    options: CocoOptions | None = None,
    size_of: SizeLookup | None = None,
) -> tuple[CocoDataset, CocoCounts]:
    """Convert records to a COCO instances dataset (or, of predictions, to one whose annotations have scores).

    Args:
        records: the images, for example from `label_studio.read_export`; read once, one at a time.
        categories: the dataset's categories, for example from `records.categories_of`.
        options: what goes in; the default is one RLE annotation for each region that a person marked.
        size_of: sizes of images without any region, for example `image_files.folder_sizes(folder)`.

    Returns:
        The dataset, ready for JSON, and the counts.
    """
    options = options or CocoOptions()
    tally = Tally()
    builder = _Builder(categories, options, tally)
    for image in select_images(records, options, size_of, tally):
        builder.add(image)
    return builder.dataset(), builder.counts()


def coco_results(dataset: CocoDataset) -> list[dict[str, Any]]:
    """Return the annotations of a dataset made of predictions as a COCO results list (for `loadRes`).

    Raises:
        CocoError: an annotation has no score.
    """
    keys = ("image_id", "category_id", "segmentation", "bbox", "score")
    unscored = [annotation["id"] for annotation in dataset["annotations"] if "score" not in annotation]
    if unscored:
        raise CocoError(
            f"expected a score for each annotation of a results file, got none for {len(unscored)} (ids "
            f"{unscored[:5]}): results are made of predictions, source='predictions'"
        )
    return [{key: annotation[key] for key in keys} for annotation in dataset["annotations"]]


def write_coco(dataset: CocoDataset | list[dict[str, Any]], path: Path, *, allow_empty: bool = False) -> None:
    """Write a dataset or a results list as JSON, all of it or nothing (a temporary file, then a rename).

    Raises:
        CocoError: there is no annotation in it and `allow_empty` is not set.
    """
    annotations = dataset if isinstance(dataset, list) else dataset["annotations"]
    if not annotations and not allow_empty:
        raise CocoError(
            f"expected at least one annotation for {path.name}, got none; look at what was left out and why, or "
            "allow an empty file"
        )
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.writelines(_json_lines(dataset))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _json_lines(dataset: CocoDataset | list[dict[str, Any]]) -> Iterator[str]:
    """Yield the JSON with one image, category or annotation a line: quick to write, and it can be compared."""
    if isinstance(dataset, list):
        yield from _json_list(dataset)
        yield "\n"
        return
    for position, (key, value) in enumerate(dataset.items()):
        yield ("{" if position == 0 else ",\n") + json.dumps(key) + ": "
        yield from _json_list(value) if isinstance(value, list) else [json.dumps(value, ensure_ascii=False)]
    yield "}\n"


def _json_list(items: list[Any]) -> Iterator[str]:
    yield "["
    for position, item in enumerate(items):
        yield (",\n" if position else "\n") + json.dumps(item, ensure_ascii=False)
    yield "]"


# ---------------------------------------------------------------- building


@dataclass(frozen=True)
class _Segmentation:
    """One annotation's shape as COCO has it; `rle` is what pycocotools makes of it."""

    segmentation: CocoRLE | list[list[float]]
    rle: CocoRLE


class _Builder:
    """Collects images and annotations one image at a time."""

    def __init__(self, categories: Sequence[Category], options: CocoOptions, tally: Tally) -> None:
        self._categories = require_distinct(categories)
        self._options = options
        self._tally = tally
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        self._lowest_polygon_iou = 1.0

    def add(self, image: SelectedImage) -> None:
        height, width = image.size_hw
        entry = {"id": len(self._images) + 1, "file_name": image.file_name, "width": width, "height": height}
        self._tally.images_out += 1
        self._images.append({**entry, "task_id": image.task_id})
        for region, category_id in labelled_regions(image, self._categories, self._tally):
            self._add_region(region, category_id)

    def dataset(self) -> CocoDataset:
        return {
            "info": {"description": "Label Studio regions as COCO instances, written by ovdiff"},
            "images": self._images,
            "categories": [
                {"id": number, "name": name, "supercategory": ""} for name, number in self._categories.items()
            ],
            "annotations": self._annotations,
        }

    def counts(self) -> CocoCounts:
        return CocoCounts(
            images_in=self._tally.images_in,
            images_out=self._tally.images_out,
            regions_in=self._tally.regions_in,
            annotations_out=len(self._annotations),
            left_out=self._tally.left_out,
            details=self._tally.details,
            lowest_polygon_iou=self._lowest_polygon_iou,
        )

    def _add_region(self, region: Region, category_id: int) -> None:
        for shape in self._segmentations(region):
            self._annotations.append(
                {
                    "id": len(self._annotations) + 1,
                    "image_id": len(self._images),
                    "category_id": category_id,
                    "segmentation": shape.segmentation,
                    "area": coco_rle_area(shape.rle),
                    "bbox": coco_rle_bbox_xywh(shape.rle),
                    "iscrowd": 0,
                    "region_id": region.id,
                    **_known(origin=region.origin, score=region.score),
                }
            )

    def _segmentations(self, region: Region) -> Iterator[_Segmentation]:
        """Yield the shape of each annotation that the region becomes."""
        if not self._options.split_parts:
            yield self._segmentation(region.rle, region.polygon)
            return
        for part in split_parts(region.mask()):
            yield self._segmentation(mask_to_coco_rle(part), None)

    def _segmentation(self, rle: CocoRLE, drawn: Sequence[tuple[float, float]] | None) -> _Segmentation:
        if self._options.segmentation == "rle":
            return _Segmentation(rle, rle)
        mask = _mask_of(rle)
        if has_holes(mask):
            return _Segmentation(rle, rle)
        if drawn is not None and _is_inside(drawn, rle["size"]):
            polygons = [np.array(drawn)]
        else:
            polygons = mask_to_polygons(mask, self._options.tolerance_px, self._options.max_vertices)
        shape = _polygon_segmentation(polygons, rle["size"])
        iou = mask_iou(_mask_of(shape.rle), mask)
        self._lowest_polygon_iou = min(self._lowest_polygon_iou, iou)
        return shape


def _mask_of(rle: CocoRLE) -> Mask:
    """Decode without a limit: the records hold nothing that was not below one."""
    return coco_rle_to_mask(rle, max_pixels=math.prod(rle["size"]))


def _is_inside(points: Sequence[tuple[float, float]], size_hw: Sequence[int]) -> bool:
    """Tell whether all points lie in the image: pycocotools walks along every edge, however far it goes."""
    return all(0 <= x <= size_hw[1] and 0 <= y <= size_hw[0] for x, y in points)


def _polygon_segmentation(polygons: Sequence[Polygon], size_hw: Sequence[int]) -> _Segmentation:
    flat = [[round(float(value), _DECIMALS) for value in polygon.ravel()] for polygon in polygons]
    # pycocotools' stubs know polygons of whole numbers only; it takes floats.
    merged = coco_mask.merge(coco_mask.frPyObjects(cast(Any, flat), size_hw[0], size_hw[1]))
    counts = merged["counts"]
    text = counts.decode("ascii") if isinstance(counts, bytes) else counts
    return _Segmentation(flat, {"size": list(size_hw), "counts": text})


def _known(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}

"""Records to COCO instances: one region is one annotation; holes and images without a region are kept.

    {"info", "images": [{id, file_name, width, height, task_id}],
     "categories": [{id, name, supercategory, keypoints?, skeleton?}],
     "annotations": [{id, image_id, category_id, segmentation, area, bbox, iscrowd, region_id, origin?, score?,
                      keypoints?, num_keypoints?, attributes?}]}

A segmentation is a compressed RLE, or polygons if the options say so. A region with holes stays an RLE, because COCO
polygons cannot have holes. `attributes` holds what was chosen or written for one region.
pycocotools computes areas and boxes, can load the file, and ignores the extra keys.

Ids count from 1 in the order of the records. The ids of images count images that are left out, too, so a file of
predictions and a file of annotations from one export use the same ids. Category ids come from
`label_studio.categories.categories_of`. An image that two tasks show is one image with the
regions of both. Nothing is left out in silence: the counts say how much and why.
"""

import math
from collections.abc import Iterable, Sequence, Sized
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol, cast, get_args

from pycocotools import mask as coco_mask

from converters.datasets.coco_details import UNHELD_KEYPOINT, category_entry, detail_keys, unheld_keypoints
from converters.encodings.coco_rle import CocoRLE, coco_rle_area, coco_rle_bbox_xywh, coco_rle_to_mask
from converters.encodings.masks import Mask, has_holes, mask_iou
from converters.encodings.polygons import Polygon, mask_to_polygons, outline_length_px
from converters.errors import CocoError
from converters.files.image_files import SizeLookup
from converters.files.json_values import JsonObject
from converters.files.output import JsonList, write_json
from converters.records import DatasetCategory, ImageRecord, Region
from converters.selection import (
    ConversionCounts,
    Detail,
    SelectedImage,
    Selection,
    Tally,
    labelled_regions,
    require_distinct,
    select_images,
)

CocoDataset = JsonObject
"""A whole COCO file: info, images, categories and annotations."""

MAX_OUTLINE_PX = 2_000_000
"""The longest outline that is handed to pycocotools; it keeps 40 bytes for each pixel of an outline, measured."""

_DECIMALS = 3  # of polygon coordinates in pixels


@dataclass(frozen=True)
class CocoOptions(Selection):
    """The choice of what goes into a COCO file (see `Selection`), and in which form.

    Attributes:
        segmentation: "rle", or "polygons" for regions without a hole.
        tolerance_px: how far a polygon may lie from the region's outline, in pixels.
        max_vertices: the largest number of points in a polygon (None: any number).
    """

    segmentation: Literal["rle", "polygons"] = "rle"
    tolerance_px: float = 1.0
    max_vertices: int | None = None


@dataclass(frozen=True)
class CocoCounts(ConversionCounts):
    """The counts of a conversion to COCO; a region with several labels or parts makes several annotations.

    `lowest_polygon_iou` is the lowest IoU of a polygon with its region, 1.0 if there is no polygon.
    """

    lowest_polygon_iou: float = 1.0

    @property
    def annotations_out(self) -> int:
        """How many annotations were written."""
        return self.regions_out


def records_to_coco(
    records: Iterable[ImageRecord],
    categories: Sequence[DatasetCategory],
    options: CocoOptions | None = None,
    size_of: SizeLookup | None = None,
) -> tuple[CocoDataset, CocoCounts]:
    """Convert records to a COCO instances dataset; annotations made from predictions have scores.

    Args:
        records: the images, for example from `reader.read_export`; read once, one at a time.
        categories: the dataset's categories, for example from `categories.categories_of`.
        options: the choice of what goes in; the default is one RLE annotation for each region that a person marked.
        size_of: a look-up of the sizes of images without a region, for example `image_files.folder_sizes(folder)`.

    Returns:
        The dataset, ready for JSON, and the counts.
    """
    options = options or CocoOptions()
    images: list[JsonObject] = []
    annotations: list[JsonObject] = []
    counts = _convert(records, categories, options, size_of, (images, annotations))
    return _dataset(categories, images, annotations), counts


def write_coco_file(
    records: Iterable[ImageRecord],
    categories: Sequence[DatasetCategory],
    path: Path,
    options: CocoOptions | None = None,
    size_of: SizeLookup | None = None,
    *,
    allow_empty: bool = False,
) -> CocoCounts:
    """Convert records to a COCO instances file in bounded memory: images and annotations wait on disk, not in lists.

    The first arguments are those of `records_to_coco`.

    Raises:
        CocoError: no annotation was made and `allow_empty` is not set.
        OutputError: the file cannot be written.
    """
    options = options or CocoOptions()
    images, annotations = _lists_beside(path)
    counts = _convert(records, categories, options, size_of, (images, annotations))
    _require_some(annotations, path, allow_empty, counts)
    write_json(_dataset(categories, images, annotations), path)
    return counts


def write_coco_results_file(
    records: Iterable[ImageRecord],
    categories: Sequence[DatasetCategory],
    path: Path,
    options: CocoOptions | None = None,
    size_of: SizeLookup | None = None,
    *,
    allow_empty: bool = False,
) -> CocoCounts:
    """Write predictions as a COCO results list (for `loadRes`), in bounded memory.

    The image ids are the ids that `write_coco_file` gives the images of the same export. A region without a score is
    left out.

    Raises:
        CocoError: `options.source` is not "predictions", or no result was made and `allow_empty` is not set.
        OutputError: the file cannot be written.
    """
    options = options or CocoOptions(source="predictions")
    if options.source != "predictions":
        raise CocoError(f"expected results of predictions, source='predictions', got {options.source!r}")
    images, results = _lists_beside(path)
    counts = _convert(records, categories, options, size_of, (images, results), only_results=True)
    _require_some(results, path, allow_empty, counts)
    write_json(results, path)
    return counts


def coco_results(dataset: CocoDataset) -> list[JsonObject]:
    """Return the annotations of a dataset made of predictions as a COCO results list (for `loadRes`).

    Raises:
        CocoError: an annotation has no score.
    """
    unscored = [annotation["id"] for annotation in dataset["annotations"] if "score" not in annotation]
    if unscored:
        raise CocoError(
            f"expected a score for each annotation of a results file, got none for {len(unscored)} (ids "
            f"{unscored[:5]}): results are made of predictions, source='predictions'"
        )
    return [_result(annotation) for annotation in dataset["annotations"]]


def write_coco(dataset: CocoDataset | list[JsonObject], path: Path, *, allow_empty: bool = False) -> None:
    """Write a dataset or a results list as a JSON file that appears whole or not at all.

    Raises:
        CocoError: the dataset holds no annotation and `allow_empty` is not set.
        OutputError: the file cannot be written.
    """
    _require_some(dataset if isinstance(dataset, list) else dataset["annotations"], path, allow_empty)
    write_json(dataset, path)


def _lists_beside(path: Path) -> tuple[JsonList, JsonList]:
    folder = path.parent if path.parent.is_dir() else None
    return JsonList(folder), JsonList(folder)


def _require_some(annotations: Sized, path: Path, allow_empty: bool, counts: ConversionCounts | None = None) -> None:
    if not allow_empty and not len(annotations):
        reasons = counts.reasons() if counts else "look at what was left out and why"
        raise CocoError(
            f"expected at least one annotation for {path.name}, got none ({reasons}); --allow-empty writes "
            "the file all the same (allow_empty=True in Python)"
        )


# ---------------------------------------------------------------- building


class _Appendable(Protocol):
    """A list in memory or on disk."""

    def append(self, item: JsonObject, /) -> None: ...


def _convert(
    records: Iterable[ImageRecord],
    categories: Sequence[DatasetCategory],
    options: CocoOptions,
    size_of: SizeLookup | None,
    lists: tuple[_Appendable, _Appendable],
    *,
    only_results: bool = False,
) -> CocoCounts:
    """Append images and annotations (or results) to two lists, one image at a time."""
    ids = require_distinct(categories)
    images, annotations = lists
    points = {category.id: category.keypoints for category in categories}
    sizes: dict[int, tuple[int, int]] = {}
    tally, shapes = Tally(), CocoShapes(options)
    for image in select_images(records, options, size_of, tally, ids):
        if image.number not in sizes:
            images.append(_image_entry(image))
            tally.images_out += 1
        elif sizes[image.number] == image.size_hw:
            tally.note("tasks that show an image of an earlier task: their regions joined it")
        else:
            where = f"task {image.task_id}: {image.file_name!r:.200}"
            tally.leave_out("image of another size than in an earlier task", where)
            continue
        sizes[image.number] = image.size_hw
        for region, category_id in labelled_regions(image, ids, tally, holds=get_args(Detail)):
            if only_results and region.score is None:
                tally.leave_out("region without a score", f"task {image.task_id}, region {region.id!r}")
                continue
            for _ in range(unheld_keypoints(region, points[category_id])):
                tally.leave_out(UNHELD_KEYPOINT, f"task {image.task_id}, region {region.id!r}")
            shape = shapes.of(region)
            tally.regions_out += 1
            annotation = {
                "id": tally.regions_out,
                "image_id": image.number,
                "category_id": category_id,
                **shape.keys(),
                "iscrowd": int(region.is_crowd),
                "region_id": region.id,
                **_known(origin=region.origin, score=region.score),
                **detail_keys(region, points[category_id]),
            }
            annotations.append(_result(annotation) if only_results else annotation)
    return CocoCounts(**vars(tally.counts()), lowest_polygon_iou=shapes.lowest_polygon_iou)


def _image_entry(image: SelectedImage) -> JsonObject:
    height, width = image.size_hw
    entry = {"id": image.number, "file_name": image.file_name, "width": width, "height": height}
    return {**entry, "task_id": image.task_id}


def _dataset(
    categories: Sequence[DatasetCategory], images: list[JsonObject] | JsonList, annotations: list[JsonObject] | JsonList
) -> CocoDataset:
    return {
        "info": {"description": "Label Studio regions as COCO instances, written by ovdiff"},
        "images": images,
        "categories": [category_entry(category) for category in categories],
        "annotations": annotations,
    }


def _result(annotation: JsonObject) -> JsonObject:
    return {key: annotation[key] for key in ("image_id", "category_id", "segmentation", "bbox", "score")}


@dataclass(frozen=True)
class CocoShape:
    """The shape of one annotation as COCO has it; `rle` holds the pixels that pycocotools reads from it.

    `box_xywh` is the box that was drawn, in pixels; None if the box is that of the pixels.
    """

    segmentation: CocoRLE | list[list[float]]
    rle: CocoRLE
    box_xywh: tuple[float, float, float, float] | None = None

    def keys(self) -> JsonObject:
        """Return the keys of an annotation that follow from its shape."""
        return {
            "segmentation": self.segmentation,
            "area": coco_rle_area(self.rle),
            "bbox": coco_rle_bbox_xywh(self.rle) if self.box_xywh is None else _rounded(self.box_xywh),
        }


class CocoShapes:
    """Makes the shapes of annotations as the options say, and keeps the lowest IoU of a polygon with its region."""

    def __init__(self, options: CocoOptions) -> None:
        """Start without any shape."""
        self._options = options
        self.lowest_polygon_iou = 1.0

    def of(self, region: Region) -> CocoShape:
        """Return the shape of the annotation that a region becomes."""
        wants_polygon = self._options.segmentation == "polygons"
        drawn = region.drawn_polygon(self._options.max_vertices) if wants_polygon else None
        shape = self._shape(region.rle, drawn)
        return shape if region.box_xywh is None else replace(shape, box_xywh=region.box_xywh)

    def _shape(self, rle: CocoRLE, drawn: Polygon | None) -> CocoShape:
        if self._options.segmentation == "rle":
            return CocoShape(rle, rle)
        mask = _mask_of(rle)
        if has_holes(mask):
            return CocoShape(rle, rle)
        if drawn is not None and outline_length_px(drawn) <= MAX_OUTLINE_PX:
            polygons = [drawn]
        else:
            polygons = mask_to_polygons(mask, self._options.tolerance_px, self._options.max_vertices)
        shape = _polygon_shape(polygons, rle["size"])
        iou = mask_iou(_mask_of(shape.rle), mask)
        self.lowest_polygon_iou = min(self.lowest_polygon_iou, iou)
        return shape


def _mask_of(rle: CocoRLE) -> Mask:
    """Decode an RLE without a limit of pixels; the reader of the records has checked the size already."""
    return coco_rle_to_mask(rle, max_pixels=math.prod(rle["size"]))


def _polygon_shape(polygons: Sequence[Polygon], size_hw: Sequence[int]) -> CocoShape:
    flat = [_rounded(polygon.ravel()) for polygon in polygons]
    # pycocotools' stubs know polygons of whole numbers only; it takes floats.
    merged = coco_mask.merge(coco_mask.frPyObjects(cast(Any, flat), size_hw[0], size_hw[1]))
    counts = merged["counts"]
    text = counts.decode("ascii") if isinstance(counts, bytes) else counts
    return CocoShape(flat, {"size": list(size_hw), "counts": text})


def _rounded(values: Iterable[float]) -> list[float]:
    return [round(float(value), _DECIMALS) for value in values]


def _known(**values: Any) -> JsonObject:
    return {key: value for key, value in values.items() if value is not None}

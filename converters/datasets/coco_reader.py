"""COCO instances to records: reads the files that `coco` writes, and any other COCO file.

The annotations of an image become a prediction if one of them has a score, else an annotation. Polygons are filled as
pycocotools fills them. An annotation that cannot be read is listed in its image's `left_out`.
"""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from pycocotools import mask as coco_mask

from converters.datasets.coco import MAX_OUTLINE_PX, CocoDataset
from converters.encodings.coco_rle import CocoRLE, coco_rle_to_mask, mask_to_coco_rle
from converters.encodings.masks import MAX_PIXELS, require_size
from converters.encodings.polygons import outline_length_px
from converters.errors import CocoError, ConverterError, MaskError
from converters.files.image_files import image_address
from converters.files.json_values import Json, finite_number, identifier, whole_number
from converters.records import Annotation, DatasetCategory, ImageRecord, Kind, LeftOut, Prediction, Region

MAX_FILE_BYTES = 1 << 30
"""The largest COCO file that is read: COCO's own instances_train2017.json has 0.45 GB."""

_KINDS: dict[str, Kind] = {"1": "thing", "0": "stuff"}  # of a panoptic category's `isthing`
_BEYOND = 4  # a polygon may stick out of its image by this many times its longer side


def read_coco(path: Path) -> CocoDataset:
    """Read a COCO file.

    Raises:
        CocoError: the file is too large, is no JSON, or lacks images, categories or annotations.
        OSError: the file cannot be opened.
    """
    if path.stat().st_size > MAX_FILE_BYTES:
        raise CocoError(f"{path}: expected at most {MAX_FILE_BYTES} bytes, got {path.stat().st_size}")
    try:
        dataset = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise CocoError(f"{path}: expected JSON, which cannot be read: {error}") from error
    for key in ("images", "categories", "annotations"):
        if not isinstance(dataset, dict) or not _is_list_of_objects(dataset.get(key)):
            raise CocoError(f"{path}: expected a list of objects under {key!r}")
    return cast(CocoDataset, dataset)


def coco_categories(dataset: CocoDataset) -> tuple[DatasetCategory, ...]:
    """Return the categories of a dataset, in its order; `isthing`, if a category has it, tells things from stuff.

    Raises:
        CocoError: an id is no whole number, a name is no text, or two categories share an id or a name.
    """
    categories = tuple(
        DatasetCategory(_id(item, "category"), _category_name(item), _KINDS.get(str(item.get("isthing"))))
        for item in dataset["categories"]
    )
    _require_distinct([category.id for category in categories], "category ids")
    _require_distinct([category.name for category in categories], "category names")
    return categories


def image_size(image: Json, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Return (height, width) of an entry of `images`.

    Raises:
        CocoError: the entry has no size, or more than `max_pixels`.
    """
    try:
        return require_size((image.get("height"), image.get("width")), max_pixels=max_pixels)  # type: ignore[arg-type]
    except MaskError as error:
        raise CocoError(f"image {image.get('id')}: {error}") from error


def annotations_by_image(dataset: CocoDataset) -> dict[int, list[Json]]:
    """Return the annotations of each image by the image's id, in the order of the dataset's images.

    Raises:
        CocoError: an image's id is no whole number, two images share an id, or an annotation belongs to no image.
    """
    ids = [_id(image, "image") for image in dataset["images"]]
    _require_distinct(ids, "image ids")
    by_image: dict[int, list[Json]] = {number: [] for number in ids}
    for annotation in dataset["annotations"]:
        image_id = whole_number(annotation.get("image_id"))
        if image_id is None or image_id not in by_image:
            got = annotation.get("image_id")
            raise CocoError(f"annotation {annotation.get('id')}: expected the id of an image, got {got!r:.40}")
        by_image[image_id].append(annotation)
    return by_image


@dataclass(frozen=True)
class ImagePlace:
    """Where the images of a dataset will be shown.

    Attributes:
        image_root: the part of an image's address in front of the file name.
        image_tag: the name of the `<Image>` tag that shows the images.
    """

    image_root: str = ""
    image_tag: str = "image"

    def address(self, file_name: str) -> str:
        """Return the address of the image with a file name."""
        return image_address(file_name, self.image_root)


def coco_to_records(
    dataset: CocoDataset, place: ImagePlace | None = None, *, max_pixels: int = MAX_PIXELS
) -> list[ImageRecord]:
    """Convert a COCO dataset to one record for each of its images, in its order.

    Args:
        dataset: a dataset as `read_coco` returns it.
        place: where the images will be shown.
        max_pixels: leave out the annotations of larger images.

    Raises:
        CocoError: the id of an image or category is no whole number, or an annotation belongs to no image.
    """
    place = place or ImagePlace()
    names = {category.id: category.name for category in coco_categories(dataset)}
    by_image = annotations_by_image(dataset)
    return [_record(image, by_image[image["id"]], names, place, max_pixels) for image in dataset["images"]]


def _record(
    image: Json,
    annotations: Sequence[Json],
    names: Mapping[int, str],
    place: ImagePlace,
    max_pixels: int,
) -> ImageRecord:
    where = f"image {image['id']}"
    empty = empty_record(image, place, max_pixels)
    if empty.size_hw is None:
        return empty
    found = read_regions(annotations, empty.size_hw, names, where)
    is_predicted = any(region.score is not None for region in found.regions)
    return replace(
        empty,
        annotations=() if is_predicted else (Annotation(None, found.regions),),
        predictions=(Prediction(None, found.regions),) if is_predicted else (),
        left_out=found.left_out,
    )


def empty_record(image: Json, place: ImagePlace, max_pixels: int = MAX_PIXELS) -> ImageRecord:
    """Return the record of an entry of `images`, without regions.

    If the entry has no file name, the record has no address and no size, and `left_out` says why.

    Raises:
        CocoError: the entry has no size, or more than `max_pixels`.
    """
    size_hw = image_size(image, max_pixels)
    file_name = image.get("file_name")
    if not isinstance(file_name, str) or not file_name:
        nameless = LeftOut("image without a file name", f"image {image['id']}: {file_name!r:.60}")
        return ImageRecord(image["id"], "", place.image_tag, left_out=(nameless,))
    task_id = identifier(image.get("task_id"))
    address = place.address(file_name)
    return ImageRecord(image["id"] if task_id is None else task_id, address, place.image_tag, size_hw=size_hw)


@dataclass(frozen=True)
class FoundRegions:
    """What was read from the annotations of one image.

    Attributes:
        regions: the regions.
        sources: the annotations that each region was made of, by the region's id.
        left_out: the annotations that could not be read.
    """

    regions: tuple[Region, ...]
    sources: Mapping[str, tuple[Json, ...]]
    left_out: tuple[LeftOut, ...]


def read_regions(
    annotations: Sequence[Json], size_hw: tuple[int, int], names: Mapping[int, str], where: str
) -> FoundRegions:
    """Read the annotations of one image; those that share `region_id` and shape become one region with all labels.

    Args:
        annotations: the image's annotations in a COCO dataset.
        size_hw: height and width of the image in pixels.
        names: the names of the categories, by id.
        where: words that say which image it is, for `left_out`.
    """
    regions: dict[str, Region] = {}
    sources: dict[str, tuple[Json, ...]] = {}
    by_shape: dict[tuple[str, str], str] = {}
    left_out: list[LeftOut] = []
    for annotation in annotations:
        try:
            new = _region(annotation, size_hw, names)
        except ConverterError as error:
            place = f"{where}, annotation {annotation.get('id')!r:.40}"
            left_out.append(LeftOut("unreadable annotation", f"{place}: {error}"))
            continue
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
    return FoundRegions(tuple(regions.values()), sources, tuple(left_out))


def _free_id(wanted: str, taken: Mapping[str, Region]) -> str:
    """Return an id that no other region of the image has; the parts of one region come with one id."""
    number, found = len(taken), wanted
    while found in taken:
        number += 1
        found = f"{wanted}-{number}"
    return found


def _region(annotation: Json, size_hw: tuple[int, int], names: Mapping[int, str]) -> Region:
    category_id = whole_number(annotation.get("category_id"))
    if category_id is None or category_id not in names:
        raise CocoError(f"expected the id of a category, got {annotation.get('category_id')!r:.40}")
    rle = _rle(annotation.get("segmentation"), size_hw)
    if rle["size"] != list(size_hw):
        raise CocoError(f"expected a segmentation of {list(size_hw)} (height, width), got {rle['size']}")
    origin = annotation.get("origin")
    return Region(
        id=str(annotation.get("region_id") or annotation.get("id")),
        labels=(names[category_id],),
        control="",
        rle=rle,
        score=finite_number(annotation.get("score")),
        origin=origin if isinstance(origin, str) else None,
    )


def _rle(segmentation: Any, size_hw: tuple[int, int]) -> CocoRLE:
    """Check a segmentation of any form, and return it as compressed RLE."""
    if isinstance(segmentation, Mapping):
        return mask_to_coco_rle(coco_rle_to_mask(segmentation, max_pixels=math.prod(size_hw)))
    polygons = [_flat_polygon(points, size_hw) for points in segmentation] if isinstance(segmentation, list) else []
    if not polygons:
        raise CocoError(f"expected a segmentation as RLE or polygons, got {segmentation!r:.60}")
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


def _id(item: Json, what: str) -> int:
    number = whole_number(item.get("id"))
    if number is None:
        raise CocoError(f"expected a whole number as id of each {what}, got {item.get('id')!r:.40}")
    return number


def _category_name(item: Json) -> str:
    name = item.get("name")
    if not isinstance(name, str) or not name.strip():
        raise CocoError(f"category {item.get('id')}: expected a name, got {name!r:.40}")
    return name


def _require_distinct(values: Sequence[int | str], what: str) -> None:
    twice = [value for value, count in Counter(values).items() if count > 1]
    if twice:
        raise CocoError(f"expected {what} to differ, got {twice[0]!r} more than once")


def _is_list_of_objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, Mapping) for item in value)

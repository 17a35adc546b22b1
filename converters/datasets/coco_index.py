"""A COCO file, read and put in order: its categories by id, its images, and the annotations of each image.

Files are seldom as clean as COCO's own. One bad row is one row that is left out and counted, never a refusal:

    a category without an id or a name, or with the id of another       left out
    two categories of one name                                          one category with the id of the first, noted
    an image without an id, or with the id of another                   left out
    an annotation of an image that is not listed                        left out
    ids such as 1.0 or "1"                                              1
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from converters.errors import CocoError
from converters.files.json_values import Json, JsonObject, finite_number
from converters.label_studio.label_config import NOT_IN_XML
from converters.records import DatasetCategory, Kind, LeftOut

MAX_FILE_BYTES = 1 << 30
"""The largest COCO file that is read: COCO's own instances_train2017.json has 0.45 GB."""

ImageId = int | str
"""The id of an image: a whole number, or any other text."""

_KINDS: dict[str, Kind] = {"1": "thing", "0": "stuff"}  # of a panoptic category's `isthing`
_DIGITS = re.compile(r"[0-9]{1,15}")
_LARGEST_ID = 10**15  # exact in every reader of JSON
JOINED = "categories joined with another of the same name"


@dataclass(frozen=True)
class CocoIndex:
    """The contents of a COCO file in order.

    Attributes:
        categories: the categories, each name once.
        names: the name of a category by its id; several ids may have one name.
        keypoints: the names of a category's keypoints by its id.
        images: the entries of the images by id, in the order of the file.
        annotations: the annotations of each image by the image's id.
        left_out: the rows that could not be used.
        notes: what was read in another form.
    """

    categories: tuple[DatasetCategory, ...]
    names: Mapping[int, str]
    keypoints: Mapping[int, tuple[str, ...]]
    images: Mapping[ImageId, Json]
    annotations: Mapping[ImageId, list[Json]]
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]


def read_coco(path: Path) -> JsonObject:
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
    return cast(JsonObject, dataset)


def index_coco(dataset: Json) -> CocoIndex:
    """Put the contents of a COCO dataset in order.

    Raises:
        CocoError: no category has an id and a name.
    """
    left_out: list[LeftOut] = []
    categories = _categories(dataset["categories"], left_out)
    by_name: dict[str, DatasetCategory] = {}
    for category in categories.values():
        by_name.setdefault(category.name, category)
    images = _images(dataset["images"], left_out)
    return CocoIndex(
        categories=tuple(by_name.values()),
        names={number: category.name for number, category in categories.items()},
        keypoints={number: category.keypoints for number, category in categories.items()},
        images=images,
        annotations=_annotations(dataset["annotations"], images, left_out),
        left_out=tuple(left_out),
        notes=(JOINED,) * (len(categories) - len(by_name)),
    )


def coco_categories(dataset: Json) -> tuple[DatasetCategory, ...]:
    """Return the categories of a dataset, in its order; `isthing`, if a category has it, tells things from stuff.

    Raises:
        CocoError: no category has an id and a name.
    """
    return index_coco({"images": [], "annotations": [], "categories": dataset["categories"]}).categories


def coco_id(value: Any) -> int | None:
    """Return an id as a whole number: 1 for 1, 1.0 and "1"; None for anything else."""
    if isinstance(value, str):
        return int(value) if _DIGITS.fullmatch(value) else None
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    number = finite_number(value)
    return int(number) if number is not None and number.is_integer() and abs(number) <= _LARGEST_ID else None


def image_id(value: Any) -> ImageId | None:
    """Return the id of an image: as `coco_id` reads it, or another text."""
    number = coco_id(value)
    return value if number is None and isinstance(value, str) and value else number


def _categories(items: list[Json], left_out: list[LeftOut]) -> dict[int, DatasetCategory]:
    found: dict[int, DatasetCategory] = {}
    for item in items:
        number, name = coco_id(item.get("id")), item.get("name")
        where = f"id {item.get('id')!r:.40}, name {name!r:.60}"
        if number is None or number < 0:
            left_out.append(LeftOut("category without a whole number as its id", where))
        elif not isinstance(name, str) or not name.strip() or NOT_IN_XML.search(name):
            left_out.append(LeftOut("category without a name that a label can have", where))
        elif number in found:
            left_out.append(LeftOut("category with the id of another", where))
        else:
            kind = _KINDS.get(str(item.get("isthing")))
            found[number] = DatasetCategory(number, name, kind, *_keypoints(item, where, left_out))
    if not found:
        raise CocoError(
            f"expected a category with an id and a name, got {len(items)} categories: "
            f"{'; '.join(f'{item.reason}: {item.where}' for item in left_out[:3]) or 'the list is empty'}"
        )
    return found


def _keypoints(item: Json, where: str, left_out: list[LeftOut]) -> tuple[tuple[str, ...], tuple[tuple[int, int], ...]]:
    """Return the names of a category's keypoints, and the pairs of its skeleton."""
    names, skeleton = item.get("keypoints") or [], item.get("skeleton")
    given = names if isinstance(names, list) else [None]
    texts = [name for name in given if isinstance(name, str) and name.strip() and not NOT_IN_XML.search(name)]
    if len(set(texts)) < len(given):
        left_out.append(LeftOut("keypoints of a category without names of their own", where))
        return (), ()
    pairs = [pair for pair in skeleton if isinstance(pair, list)] if isinstance(skeleton, list) else []
    ends = [[end for value in pair if (end := coco_id(value)) is not None and 0 < end <= len(texts)] for pair in pairs]
    return tuple(texts), tuple((pair[0], pair[1]) for pair in ends if len(pair) == 2)


def _images(items: list[Json], left_out: list[LeftOut]) -> dict[ImageId, Json]:
    found: dict[ImageId, Json] = {}
    for item in items:
        key = image_id(item.get("id"))
        where = f"id {item.get('id')!r:.40}, file_name {item.get('file_name')!r:.60}"
        if key is None:
            left_out.append(LeftOut("image without an id", where))
        elif key in found:
            left_out.append(LeftOut("image with the id of another", where))
        else:
            found[key] = item
    return found


def _annotations(
    items: list[Json], images: Mapping[ImageId, Json], left_out: list[LeftOut]
) -> dict[ImageId, list[Json]]:
    found: dict[ImageId, list[Json]] = {key: [] for key in images}
    for item in items:
        key = image_id(item.get("image_id"))
        if key is None or key not in found:
            where = f"annotation {item.get('id')!r:.40}: image {item.get('image_id')!r:.40}"
            left_out.append(LeftOut("annotation of an image that the file does not list", where))
        else:
            found[key].append(item)
    return found


def _is_list_of_objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, Mapping) for item in value)

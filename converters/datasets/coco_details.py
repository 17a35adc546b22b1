"""What COCO annotations hold beside shape, category and score: crowds, keypoints and attributes, both ways.

    "iscrowd": 1                                    Region.is_crowd
    "keypoints": [x, y, v, ...]                     Region.keypoints; v is 0 not placed, 1 hidden, 2 visible
    "attributes": {"state": "wet", ...}             Region.answers, as texts
    the category's "keypoints" and "skeleton"       DatasetCategory.keypoints and .skeleton

Any other key of an annotation that says something is counted: a region has no place for it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from converters.datasets.coco_index import coco_id
from converters.files.json_values import Json, JsonObject, finite_number
from converters.records import DatasetCategory, Keypoint, Region

UNHELD_KEYPOINT = 'keypoint that no <KeyPointLabels keypointsOf="the region\'s label"> names, or that it has twice'
UNKNOWN_KEY = "key of an annotation that a region cannot hold"
UNFIT_KEYPOINTS = "keypoints that do not fit their category"
UNFIT_SCORE = "score that is no number"
UNFIT_ATTRIBUTE = "attribute that is no text, number or list of them"

_DECIMALS = 3  # of coordinates in pixels
_HIDDEN, _VISIBLE = 1, 2
_KNOWN_KEYS = frozenset(
    (
        "id",
        "image_id",
        "category_id",
        "segmentation",
        "area",
        "bbox",
        "iscrowd",
        "keypoints",
        "num_keypoints",
        "attributes",
        "score",
        "origin",
        "region_id",
    )
)


@dataclass(frozen=True)
class CocoDetails:
    """The details of an annotation as a region has them; `faults` holds (reason, what) of all that it cannot hold."""

    is_crowd: bool
    keypoints: tuple[Keypoint, ...]
    answers: Mapping[str, tuple[str, ...]]
    faults: tuple[tuple[str, str], ...]


# ---------------------------------------------------------------- out


def category_entry(category: DatasetCategory) -> JsonObject:
    """Return the entry of a category in `categories`."""
    skeleton = [list(pair) for pair in category.skeleton]
    points = {"keypoints": list(category.keypoints), "skeleton": skeleton} if category.keypoints else {}
    return {"id": category.id, "name": category.name, "supercategory": "", **points}


def detail_keys(region: Region, names: Sequence[str]) -> JsonObject:
    """Return the keys of an annotation that follow from a region's keypoints and answers.

    Args:
        region: the region.
        names: the keypoints of its category, in their order.
    """
    keys: JsonObject = {}
    if names:
        placed = {point.name: point for point in region.keypoints}
        triples = [_triple(placed.get(name)) for name in names]
        keys["keypoints"] = [value for triple in triples for value in triple]
        keys["num_keypoints"] = sum(triple[2] > 0 for triple in triples)
    if region.answers:
        keys["attributes"] = attributes_of(region.answers)
    return keys


def unheld_keypoints(region: Region, names: Sequence[str]) -> int:
    """Return how many keypoints of a region have no place among its category's names, or share one with another."""
    return len(region.keypoints) - len({point.name for point in region.keypoints} & set(names))


def attributes_of(answers: Mapping[str, Sequence[str]]) -> JsonObject:
    """Return answers as the attributes of an annotation: a text, or a list of several."""
    return {name: texts[0] if len(texts) == 1 else [*texts] for name, texts in answers.items()}


def _triple(point: Keypoint | None) -> tuple[float, float, int]:
    if point is None:
        return 0, 0, 0
    return round(point.x, _DECIMALS), round(point.y, _DECIMALS), _HIDDEN if point.is_hidden else _VISIBLE


# ---------------------------------------------------------------- back


def details_of(annotation: Json, names: Sequence[str]) -> CocoDetails:
    """Return the details of an annotation; `names` are the keypoints of its category."""
    faults = [(UNKNOWN_KEY, repr(key)[:60]) for key, value in annotation.items() if value and key not in _KNOWN_KEYS]
    keypoints = _keypoints(annotation.get("keypoints"), names)
    if keypoints is None:
        faults.append((UNFIT_KEYPOINTS, f"expected {len(names)} times x, y, v, got {annotation['keypoints']!r:.60}"))
    answers: dict[str, tuple[str, ...]] = {}
    attributes = annotation.get("attributes") or {}
    for name, value in attributes.items() if isinstance(attributes, Mapping) else [("attributes", attributes)]:
        texts = _texts(value)
        if texts is None:
            faults.append((UNFIT_ATTRIBUTE, f"{name!r:.60}: {value!r:.60}"))
        elif texts:
            answers[name] = texts
    return CocoDetails(is_set(annotation.get("iscrowd")), keypoints or (), answers, tuple(faults))


def is_set(flag: Any) -> bool:
    """Tell whether a flag such as `iscrowd` is set: 1, true, 1.0 or "1"."""
    return flag is True or bool(coco_id(flag))


def score_of(entry: Json) -> tuple[float | None, tuple[str, str] | None]:
    """Return the score of an annotation or a segment, and (reason, what) if it has one that is no number.

    Some tools write the number as text, and "0.9" is read as 0.9: without its score, a prediction would come in as an
    annotation that is finished.
    """
    written = entry.get("score")
    if written is None or written == "":
        return None, None
    try:
        score = finite_number(float(written) if isinstance(written, str) else written)
    except ValueError:
        score = None
    fault = None if score is not None else (UNFIT_SCORE, f"expected a score as a number, got {written!r:.60}")
    return score, fault


def attribute_names(dataset: Json) -> Iterator[str]:
    """Yield the names of the attributes of all annotations, one by one as they come."""
    for annotation in dataset["annotations"]:
        attributes = annotation.get("attributes")
        yield from attributes if isinstance(attributes, Mapping) else ()


def _keypoints(values: Any, names: Sequence[str]) -> tuple[Keypoint, ...] | None:
    """Return the keypoints that are placed, None if the values do not fit the names."""
    if not values:
        return ()
    numbers = [finite_number(value) for value in values] if isinstance(values, list) else []
    known = [number for number in numbers if number is not None]
    if len(known) != len(numbers) or len(known) != 3 * len(names):
        return None
    triples = zip(names, known[::3], known[1::3], known[2::3], strict=True)
    return tuple(Keypoint(name, x, y, is_hidden=seen == _HIDDEN) for name, x, y, seen in triples if seen > 0)


def _texts(value: Any) -> tuple[str, ...] | None:
    """Return the value of an attribute as texts; none for null and false, None if it is an object or a nested list."""
    items = value if isinstance(value, list) else [value]
    if not all(item is None or isinstance(item, (str, int, float)) for item in items):
        return None
    return tuple(_text(item) for item in items if item is not None and item is not False and item != "")


def _text(value: str | float) -> str:
    return value if isinstance(value, str) else str(value).lower()

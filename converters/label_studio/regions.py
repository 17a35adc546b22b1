"""The results of one annotation or prediction on one image, as regions.

    {"type": "brush", "id": "r1", ...}, {"type": "labels", "id": "r1", ...}     one region: one tool draws, one names

A result that is no region with an area, or cannot be read, is listed as left out and stops nothing. Regions of one
annotation or prediction must agree on the image's size; the size that most of them state wins.

Tested in tests/converters/label_studio/test_reader.py.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from converters.encodings.coco_rle import mask_to_coco_rle
from converters.encodings.masks import require_size
from converters.errors import ConverterError
from converters.files.json_values import Json, finite_number
from converters.label_studio.label_config import ImageTag
from converters.label_studio.region_details import CROWD, CROWD_CONTROL, answers_of, keypoint, points_apart
from converters.label_studio.shapes import shape_of, shape_reader, upright_box
from converters.records import Keypoint, LeftOut, Region

_LABEL_KEYS_END = "labels"
_PLACE_KEYS = ("x", "points", "vertices")


@dataclass(frozen=True)
class ShownImage:
    """The image of a task that is being read, and, for each control, the category that each label means."""

    tag: ImageTag
    index: int
    image: str
    max_pixels: int
    categories: Mapping[str, Mapping[str, str]]

    def shows(self, result: Any) -> bool:
        """Tell whether a result was drawn on this image."""
        if not isinstance(result, Mapping):
            return False
        return result.get("to_name") == self.tag.name and (result.get("item_index") or 0) == self.index


@dataclass(frozen=True)
class FoundRegions:
    """What was read from one annotation or prediction on one image.

    Attributes:
        regions: the regions, all of one size.
        left_out: what was left out.
        lost_regions: how many regions are among what was left out. An answer to a question about the image is none,
            and neither is a brush without a pixel: they mark nothing in the image.
        answers: the answers to questions about the image, by the name of the question; they are left out, too.
    """

    regions: tuple[Region, ...]
    left_out: tuple[LeftOut, ...]
    lost_regions: int
    answers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


NOTHING_READ = FoundRegions((), (), 0)


def read_regions(results: Sequence[Any], place: ShownImage, where: str) -> FoundRegions:
    """Read the regions of one annotation or prediction on one image.

    Args:
        results: the results of the annotation or prediction; those of other images are passed over.
        place: the image.
        where: the task and the annotation or prediction, for messages.
    """
    regions: list[Region] = []
    lost_regions = 0
    left_out: list[LeftOut] = []
    answers: dict[str, tuple[str, ...]] = {}
    areas, points = points_apart(_same_region([result for result in results if place.shows(result)]))
    for group in areas:
        region_id = str(group[0].get("id", ""))
        try:
            region = _region(group, region_id, place)
            keypoints = _keypoints(points.pop(region_id, []), region.size_hw, place, where, left_out)
            regions.append(replace(region, keypoints=tuple(keypoints)))
        except _NoAreaError as error:
            lost_regions += _marks_a_place(group)
            answers |= {} if _marks_a_place(group) else answers_of(group)
            left_out.append(LeftOut(str(error), f"{where}, region {region_id!r}"))
        except ConverterError as error:
            lost_regions += 1
            left_out.append(LeftOut("unreadable region", f"{where}, region {region_id!r}: {error}"))
    for parent, lost in points.items():
        what = f"{where}: {len(lost)} of {parent!r:.40}"
        left_out += [LeftOut("keypoint of no region with an area", what)] * len(lost)
        lost_regions += len(lost)
    of_one_size = _of_one_size(regions, where, left_out)
    lost_regions += len(regions) - len(of_one_size)
    return FoundRegions(of_one_size, tuple(left_out), lost_regions, answers)


def _marks_a_place(group: Sequence[Json]) -> bool:
    """Tell whether the results of a region without an area mark a place in the image, as a point or a line does."""
    values = [result["value"] for result in group if isinstance(result.get("value"), Mapping)]
    return any(key in value for value in values for key in _PLACE_KEYS)


def _keypoints(
    groups: Iterable[Sequence[Json]], size_hw: tuple[int, int], place: ShownImage, where: str, left_out: list[LeftOut]
) -> Iterator[Keypoint]:
    """Yield the keypoints of a region; a point without a label has no name and is left out."""
    for group in groups:
        names = [name for result in group for name in _labels(result, place)]
        if names:
            yield keypoint(group, names[0], size_hw)
        else:
            left_out.append(LeftOut("keypoint without a label", f"{where}, {group[0].get('id')!s:.40}"))


def first_size_hw(results: Sequence[Any], place: ShownImage) -> tuple[int, int] | None:
    """Return the height and width that the first readable region states, None if no region can be read."""
    for result in results:
        if place.shows(result) and shape_reader(result):
            try:
                return _region([result], "", place).size_hw
            except ConverterError:
                continue
    return None


def type_of(result: Any) -> str:
    """Return what a result is called where it is left out: its type."""
    return f"{result.get('type') or 'result'!s:.40}" if isinstance(result, Mapping) else "a result that is no object"


def _of_one_size(regions: Sequence[Region], where: str, left_out: list[LeftOut]) -> tuple[Region, ...]:
    """Return the regions of the size that most of them state, and list the others; of equals the first size wins."""
    sizes = Counter(region.size_hw for region in regions)
    if len(sizes) < 2:
        return tuple(regions)
    (height, width), _ = sizes.most_common(1)[0]
    for region in regions:
        if region.size_hw != (height, width):
            got = f"{region.size_hw[1]}x{region.size_hw[0]}"
            what = f"expected an image of {width}x{height} as its other regions say, got {got}"
            left_out.append(LeftOut("unreadable region", f"{where}, region {region.id!r}: {what}"))
    return tuple(region for region in regions if region.size_hw == (height, width))


def _region(group: Sequence[Json], region_id: str, place: ShownImage) -> Region:
    shape = next((result for result in group if shape_reader(result)), None)
    read = shape_reader(shape) if shape is not None else None
    if shape is None or read is None:
        raise _NoAreaError(f"{type_of(group[0])} has no area")
    size_hw = require_size(
        (shape.get("original_height"), shape.get("original_width")),  # type: ignore[arg-type]
        max_pixels=place.max_pixels,
    )
    mask, polygon = read(shape["value"], size_hw)
    if not mask.any():
        raise _NoAreaError("region without a pixel")
    origin = shape.get("origin")
    answers = answers_of(group)
    return Region(
        id=region_id,
        labels=tuple(dict.fromkeys(name for result in group for name in _labels(result, place))),
        control=str(shape.get("from_name", "")),
        rle=mask_to_coco_rle(mask),
        polygon=None if polygon is None else tuple((x, y) for x, y in polygon.tolist()),
        score=finite_number(shape.get("score")),
        origin=origin if isinstance(origin, str) else None,
        box_xywh=upright_box(shape["value"], size_hw),
        is_crowd=CROWD in answers.pop(CROWD_CONTROL, ()),
        answers=answers,
    )


def _labels(result: Json, place: ShownImage) -> list[str]:
    """Return the categories that a result names; a label that its control does not know is kept as it is."""
    known = place.categories.get(str(result.get("from_name")), {})
    return [known.get(word, word) for word in _words(result)]


class _NoAreaError(ConverterError):
    """A result is no region with an area; the message is the reason that is counted."""


def _same_region(results: Sequence[Json]) -> Iterator[list[Json]]:
    """Group the results of one region: the same id and, where both have one, the same shape.

    A region that was drawn with <Brush> and named with <Labels> comes as two results. Two different shapes with one id
    are two regions.
    """
    groups: dict[str | int, list[list[Json]]] = {}
    for position, result in enumerate(results):
        same_id = groups.setdefault(str(result["id"]) if result.get("id") else position, [])
        group = next((group for group in same_id if _may_be_one(group, result)), None)
        if group is None:
            same_id.append([result])
        else:
            group.append(result)
    yield from (group for same_id in groups.values() for group in same_id)


def _may_be_one(group: Sequence[Json], result: Json) -> bool:
    shape = shape_of(result)
    return not shape or all(other in ({}, shape) for other in map(shape_of, group))


def _words(result: Json) -> list[str]:
    """Return the labels of a result: the list under the "...labels" key of its value."""
    value = result.get("value")
    words = [v for k, v in value.items() if k.endswith(_LABEL_KEYS_END)] if isinstance(value, Mapping) else []
    return [word for found in words if isinstance(found, list) for word in found if isinstance(word, str)]

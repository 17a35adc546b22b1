"""Label Studio's JSON to records: the JSON export, JSON_MIN, and tasks as the API gives them.

    task ─ data {"image": address} ─ annotations [{result: [region, ...]}] ─ predictions [{result, score}]
    JSON_MIN: one flat object for each annotation, {"id", "image", "<control name>": [value, ...], "annotator", ...}

A region, annotation or task that cannot be read does not stop the conversion: it is listed in a record's `left_out`.
A task that shows no image at all becomes a record without an address (`ImageRecord.image` is ""), and `left_out` says
why.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from converters.encodings.coco_rle import mask_to_coco_rle
from converters.encodings.masks import MAX_PIXELS, require_size
from converters.errors import ConverterError, LabelStudioFormatError
from converters.files.json_stream import read_json_array
from converters.files.json_values import Json, finite_number, identifier, whole_number
from converters.label_studio.label_config import ImageTag, LabelConfig
from converters.label_studio.shapes import shape_of, shape_reader, upright_box
from converters.records import Annotation, ImageRecord, LeftOut, Prediction, Region

_LABEL_KEYS_END = "labels"


def read_export(path: Path, config: LabelConfig, *, max_pixels: int = MAX_PIXELS) -> Iterator[ImageRecord]:
    """Read an export file (JSON or JSON_MIN) task by task, in bounded memory.

    Args:
        path: the file.
        config: the project's label config.
        max_pixels: leave out regions of larger images.

    Raises:
        LabelStudioFormatError: the file is no JSON, or ends too early.
        OSError: the file cannot be opened.
    """
    return tasks_to_records(read_json_array(path), config, max_pixels=max_pixels)


def tasks_to_records(
    tasks: Iterable[Json], config: LabelConfig, *, max_pixels: int = MAX_PIXELS
) -> Iterator[ImageRecord]:
    """Convert tasks (of an export or of the API, full or JSON_MIN) to one record for each of their images.

    Raises:
        LabelStudioFormatError: the config shows no image.
    """
    if not config.images:
        raise LabelStudioFormatError("expected a label config with an <Image>, got one that shows no image")
    for _, rows in groupby(enumerate(tasks), key=_task_key):
        same_task = list(rows)
        try:
            full = [full_task(task, config, position) for position, task in same_task]
        except LabelStudioFormatError as error:
            task_id = identifier(same_task[0][1].get("id")) if isinstance(same_task[0][1], Mapping) else None
            yield _without_image(task_id, config, [LeftOut("unreadable task", str(error))])
        else:
            yield from _task_records(full[0] if len(full) == 1 else _merged(full), config, max_pixels)


# ---------------------------------------------------------------- tasks


def _task_key(row: tuple[int, Any]) -> tuple[str, Any]:
    """Return a key that the rows of one task share; JSON_MIN has one row for each annotation, one after another."""
    position, task = row
    is_min = isinstance(task, Mapping) and not isinstance(task.get("data"), Mapping)
    return ("id", task["id"]) if is_min and task.get("id") is not None else ("position", position)


def _merged(rows: Sequence[Json]) -> Json:
    return {**rows[0], "annotations": [annotation for row in rows for annotation in row["annotations"]]}


def full_task(task: Json, config: LabelConfig, position: int) -> Json:
    """Return a task in the full form; a row of JSON_MIN is turned into that form.

    Raises:
        LabelStudioFormatError: the task is no object, or has neither `data` nor the keys of an image.
    """
    if not isinstance(task, Mapping):
        raise LabelStudioFormatError(f"task {position}: expected an object, got {type(task).__name__}")
    if isinstance(task.get("data"), Mapping):
        return task
    if not any(image.data_key in task for image in config.images):
        raise LabelStudioFormatError(
            f"task {task.get('id', position)}: expected 'data' with {[i.data_key for i in config.images]} (or a "
            f"JSON_MIN task with these keys), got the keys {sorted(map(str, task))[:20]}"
        )
    results = [
        {
            **{key: value[key] for key in ("original_width", "original_height") if key in value},
            "from_name": control.name,
            "to_name": control.to_name,
            "type": control.kind,
            "value": value,
        }
        for control in config.controls
        for value in _min_values(task.get(control.name))
    ]
    annotation = {
        "id": task.get("annotation_id"),
        "completed_by": task.get("annotator"),
        "updated_at": task.get("updated_at"),
        "lead_time": task.get("lead_time"),
        "result": results,
    }
    annotated = task.get("annotation_id") is not None
    return {"id": task.get("id"), "data": task, "annotations": [annotation] if annotated else []}


def _min_values(values: Any) -> list[Json]:
    """Return the values of regions under a control's name, without choices and texts."""
    if not isinstance(values, list):
        return []
    return [value for value in values if isinstance(value, Mapping)]


def _task_records(task: Json, config: LabelConfig, max_pixels: int) -> Iterator[ImageRecord]:
    left_out: list[LeftOut] = []
    categories = {
        control.name: {label.result_name: label.value for label in control.labels} for control in config.controls
    }
    places = [
        _ShownImage(tag, index, image, max_pixels, categories)
        for tag in config.images
        for index, image in enumerate(_images(task, tag, left_out))
    ]
    annotations = list(_items(task, "annotations", left_out))
    predictions = list(_items(task, "predictions", left_out))
    items = [*annotations, *predictions, *_kept_predictions(annotations, predictions)]
    left_out += _strays(items, places)
    if not places:
        yield _without_image(identifier(task.get("id")), config, left_out)
    for place in places:
        yield _image_record(task, items, place, left_out if place is places[0] else [])


def _without_image(task_id: int | str | None, config: LabelConfig, left_out: Sequence[LeftOut]) -> ImageRecord:
    return ImageRecord(task_id=task_id, image="", image_tag=config.images[0].name, left_out=tuple(left_out))


def _images(task: Json, tag: ImageTag, left_out: list[LeftOut]) -> list[str]:
    """Return the addresses of an image tag; if one is missing, return none and add the reason to `left_out`."""
    address = task["data"].get(tag.data_key)
    addresses = address if isinstance(address, list) else [address]
    if addresses and all(isinstance(a, str) and a for a in addresses):
        return addresses
    where = (
        f"task {_short(task.get('id'))}: expected the address of the image {tag.name!r} in data.{tag.data_key}, got "
        f"{address!r:.80}"
    )
    left_out.append(LeftOut("image without an address", where))
    return []


@dataclass(frozen=True)
class _Item:
    """An annotation or a prediction of a task (`key` says which) with its results."""

    key: str
    content: Json
    results: list[Any]
    where: str


def _items(task: Json, key: str, left_out: list[LeftOut]) -> Iterator[_Item]:
    """Yield the annotations or predictions of a task; bare ids, which exports may hold instead, are skipped."""
    items = task.get(key)
    if items is not None and not isinstance(items, list):
        where = f"task {_short(task.get('id'))}: expected {key} to be a list, got {type(items).__name__}"
        left_out.append(LeftOut("unreadable annotations", where))
        return
    for content in (content for content in items or [] if isinstance(content, Mapping)):
        where = f"task {_short(task.get('id'))}, {key.removesuffix('s')} {_short(content.get('id'))}"
        results = content.get("result")
        if isinstance(results, list):
            yield _Item(key, content, results, where)
        else:
            where += f": expected 'result' to be a list, got {type(results).__name__}"
            left_out.append(LeftOut("unreadable result", where))


def _kept_predictions(annotations: Sequence[_Item], predictions: Sequence[_Item]) -> list[_Item]:
    """Return the copies of predictions that annotations hold, unless the task itself holds the prediction.

    Label Studio copies the prediction of the project's model version into the key `prediction` of a new annotation.
    """
    there = {str(item.content.get("id")) for item in predictions}
    copies = [(item.content.get("prediction"), item.where) for item in annotations]
    kept = {
        str(copy.get("id")): _Item("predictions", copy, copy["result"], f"{where}, its copy of a prediction")
        for copy, where in copies
        if isinstance(copy, Mapping) and isinstance(copy.get("result"), list)
    }
    return [item for number, item in kept.items() if number not in there]


def _strays(items: Sequence[_Item], places: Sequence["_ShownImage"]) -> list[LeftOut]:
    """List the results that belong to none of the task's images: relations, choices, regions of unknown images."""
    return [
        LeftOut(f"{_type_of(result)} on no image of the task", item.where)
        for item in items
        for result in item.results
        if not any(place.shows(result) for place in places)
    ]


def _short(value: Any) -> str:
    return f"{value!s:.40}"


def _type_of(result: Any) -> str:
    return _short(result.get("type") or "result") if isinstance(result, Mapping) else "a result that is no object"


# ---------------------------------------------------------------- one image


@dataclass(frozen=True)
class _ShownImage:
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


def _image_record(task: Json, items: Sequence[_Item], place: _ShownImage, left_out: Sequence[LeftOut]) -> ImageRecord:
    read = _RegionReader(place)
    annotations: list[Annotation] = []
    predictions: list[Prediction] = []
    for item in items:
        regions = tuple(read.regions(item.results, item.where))
        if item.key == "annotations":
            annotations.append(_annotation(item.content, regions))
        else:
            predictions.append(_prediction(item.content, regions))
    return ImageRecord(
        task_id=identifier(task.get("id")),
        image=place.image,
        image_tag=place.tag.name,
        index=place.index,
        size_hw=read.size_hw,
        annotations=tuple(annotations),
        predictions=tuple(predictions),
        left_out=(*left_out, *read.left_out),
        project=whole_number(task.get("project")),
    )


def _annotation(content: Json, regions: tuple[Region, ...]) -> Annotation:
    return Annotation(
        id=identifier(content.get("id")),
        regions=regions,
        annotator=_annotator(content),
        skipped=bool(content.get("was_cancelled")),
        ground_truth=bool(content.get("ground_truth")),
        parent_prediction=whole_number(content.get("parent_prediction")),
        updated_at=str(content.get("updated_at") or ""),
        lead_time_s=finite_number(content.get("lead_time")),
    )


def _annotator(content: Json) -> int | str | None:
    """Return the address of the person, or their name and address as the API gives them, or else their number."""
    completed_by, named = content.get("completed_by"), content.get("created_username")
    if isinstance(completed_by, Mapping):
        return identifier(completed_by.get("email"))
    name, _, number = named.rpartition(",") if isinstance(named, str) else ("", "", "")
    is_that_person = name.strip() and number.strip() == str(completed_by)
    return name.strip() if is_that_person else identifier(completed_by)


def _prediction(content: Json, regions: tuple[Region, ...]) -> Prediction:
    return Prediction(
        id=identifier(content.get("id")),
        regions=regions,
        score=finite_number(content.get("score")),
        model_version=str(content.get("model_version") or ""),
        created_at=str(content.get("created_at") or ""),
    )


class _RegionReader:
    """Reads the regions of one image; keeps the image's size and a list of what could not be read."""

    def __init__(self, place: _ShownImage) -> None:
        self._place = place
        self.size_hw: tuple[int, int] | None = None
        self.left_out: list[LeftOut] = []

    def regions(self, results: Sequence[Any], where: str) -> Iterator[Region]:
        here = [result for result in results if self._place.shows(result)]
        for group in _same_region(here):
            region_id = str(group[0].get("id", ""))
            try:
                yield self._region(group, region_id)
            except _NoAreaError as error:
                self.left_out.append(LeftOut(str(error), f"{where}, region {region_id!r}"))
            except ConverterError as error:
                self.left_out.append(LeftOut("unreadable region", f"{where}, region {region_id!r}: {error}"))

    def _region(self, group: Sequence[Json], region_id: str) -> Region:
        shape = next((result for result in group if shape_reader(result)), None)
        read = shape_reader(shape) if shape is not None else None
        if shape is None or read is None:
            raise _NoAreaError(f"{_type_of(group[0])} has no area")
        size_hw = self._image_size(shape)
        mask, polygon = read(shape["value"], size_hw)
        self.size_hw = size_hw  # only now: a region that cannot be read has no say
        if not mask.any():
            raise _NoAreaError("region without a pixel")
        origin = shape.get("origin")
        return Region(
            id=region_id,
            labels=tuple(dict.fromkeys(name for result in group for name in self._labels(result))),
            control=str(shape.get("from_name", "")),
            rle=mask_to_coco_rle(mask),
            polygon=None if polygon is None else tuple((float(x), float(y)) for x, y in polygon),
            score=finite_number(shape.get("score")),
            origin=origin if isinstance(origin, str) else None,
            box_xywh=upright_box(shape["value"], size_hw),
        )

    def _labels(self, result: Json) -> list[str]:
        """Return the categories that a result names; a label that its control does not know is kept as it is."""
        known = self._place.categories.get(str(result.get("from_name")), {})
        return [known.get(word, word) for word in _words(result)]

    def _image_size(self, result: Json) -> tuple[int, int]:
        """Return the size that a region states; it must be the size that the image's other regions state."""
        size_hw = require_size(
            (result.get("original_height"), result.get("original_width")),  # type: ignore[arg-type]
            max_pixels=self._place.max_pixels,
        )
        if self.size_hw not in (None, size_hw):
            raise LabelStudioFormatError(
                f"expected an image of {self.size_hw[1]}x{self.size_hw[0]} as its other regions say, got "
                f"{size_hw[1]}x{size_hw[0]}"
            )
        return size_hw


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

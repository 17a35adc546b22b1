"""Label Studio's JSON to records: the JSON export, JSON_MIN, and tasks as the API gives them.

    task ─ data {"image": address} ─ annotations [{result: [region, ...]}] ─ predictions [{result, score}]
    JSON_MIN: one flat object for each annotation, {"id", "image", "<control name>": [value, ...], "annotator", ...}

A region, annotation or task that cannot be read does not stop the conversion: it is listed in a record's `left_out`.
A task that shows no image at all becomes a record without an address (`ImageRecord.image` is ""), and `left_out` says
why.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from converters.encodings.masks import MAX_PIXELS
from converters.errors import LabelStudioFormatError
from converters.files.json_stream import read_json_array
from converters.files.json_values import Json, finite_number, identifier, whole_number
from converters.label_studio.label_config import Control, ImageTag, LabelConfig
from converters.label_studio.region_details import answer_value
from converters.label_studio.regions import NOTHING_READ, FoundRegions, ShownImage, first_size_hw, read_regions, type_of
from converters.records import Annotation, ImageRecord, LeftOut, Prediction, Region, newest
from converters.workers import ordered_map


@dataclass(frozen=True)
class Wanted:
    """Which annotations and predictions are decoded; the others come without regions, and their faults do not count.

    Attributes:
        annotations: all, the one of each image that `ImageRecord.preferred_annotation` picks, or none.
        predictions: all, the newest of each task, or none.
    """

    annotations: Literal["all", "preferred", "none"] = "all"
    predictions: Literal["all", "newest", "none"] = "all"


EVERYTHING = Wanted()


def read_export(
    path: Path,
    config: LabelConfig,
    *,
    wanted: Wanted = EVERYTHING,
    max_pixels: int = MAX_PIXELS,
    workers: int = 1,
) -> Iterator[ImageRecord]:
    """Read an export file (JSON or JSON_MIN) task by task, in bounded memory.

    Args:
        path: the file.
        config: the project's label config.
        wanted: which annotations and predictions are decoded.
        max_pixels: leave out regions of larger images.
        workers: how many processes decode; the records are the same, in the same order.

    Raises:
        LabelStudioFormatError: the file is no JSON, or ends too early.
        OSError: the file cannot be opened.
    """
    return tasks_to_records(read_json_array(path), config, wanted=wanted, max_pixels=max_pixels, workers=workers)


def tasks_to_records(
    tasks: Iterable[Json],
    config: LabelConfig,
    *,
    wanted: Wanted = EVERYTHING,
    max_pixels: int = MAX_PIXELS,
    workers: int = 1,
) -> Iterator[ImageRecord]:
    """Convert tasks (of an export or of the API, full or JSON_MIN) to one record for each of their images.

    The other arguments are those of `read_export`.

    Raises:
        LabelStudioFormatError: the config shows no image.
    """
    if not config.images:
        raise LabelStudioFormatError("expected a label config with an <Image>, got one that shows no image")
    groups = (list(rows) for _, rows in groupby(enumerate(tasks), key=_task_key))
    read = partial(_records_of, config=config, wanted=wanted, max_pixels=max_pixels)
    for records in ordered_map(read, groups, workers):
        yield from records


def _records_of(
    same_task: list[tuple[int, Any]], config: LabelConfig, wanted: Wanted, max_pixels: int
) -> list[ImageRecord]:
    """Return the records of one task, given as its rows with their positions in the file."""
    try:
        full = [full_task(task, config, position) for position, task in same_task]
    except LabelStudioFormatError as error:
        task_id = identifier(same_task[0][1].get("id")) if isinstance(same_task[0][1], Mapping) else None
        return [_without_image(task_id, config, [LeftOut("unreadable task", str(error))])]
    return list(_task_records(full[0] if len(full) == 1 else _merged(full), config, wanted, max_pixels))


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
        for value in _min_values(task.get(control.name), control)
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


def _min_values(values: Any, control: Control) -> list[Json]:
    """Return the values of results under a control's name: shapes, or an answer to nobody knows what region."""
    shapes = [value for value in values if isinstance(value, Mapping)] if isinstance(values, list) else []
    answer = None if shapes else answer_value(control.kind, values)
    return shapes if answer is None else [answer]


def _task_records(task: Json, config: LabelConfig, wanted: Wanted, max_pixels: int) -> Iterator[ImageRecord]:
    left_out: list[LeftOut] = []
    categories = {
        control.name: {label.result_name: label.value for label in control.labels} for control in config.controls
    }
    places = [
        ShownImage(tag, index, image, max_pixels, categories)
        for tag in config.images
        for index, image in enumerate(_images(task, tag, left_out))
    ]
    items = _wanted_items(task, wanted, left_out)
    left_out += _strays([item for item in items if item.is_wanted], places)
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
    """An annotation or a prediction of a task (`key` says which) with its results, and whether they are decoded."""

    key: str
    content: Json
    results: list[Any]
    where: str
    is_wanted: bool = True


def _wanted_items(task: Json, wanted: Wanted, left_out: list[LeftOut]) -> list[_Item]:
    """Return all annotations and predictions of a task; the faults of those that nobody wants are passed over."""
    annotations = list(_items(task, "annotations", [] if wanted.annotations == "none" else left_out))
    predictions = list(_items(task, "predictions", [] if wanted.predictions == "none" else left_out))
    predictions += _kept_predictions(annotations, predictions)
    annotated = [_annotation(item.content) for item in annotations]
    predicted = [_prediction(item.content, ()) for item in predictions]
    preferred = ImageRecord(None, "", "", annotations=tuple(annotated)).preferred_annotation()
    last = newest(predicted)
    sides = (
        (annotations, annotated, wanted.annotations, preferred),
        (predictions, predicted, wanted.predictions, last),
    )
    return [
        item if which == "all" or (which != "none" and made is chosen) else replace(item, is_wanted=False)
        for items, all_made, which, chosen in sides
        for item, made in zip(items, all_made, strict=True)
    ]


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


def _strays(items: Sequence[_Item], places: Sequence[ShownImage]) -> list[LeftOut]:
    """List the results that belong to none of the task's images: relations, choices, regions of unknown images."""
    return [
        LeftOut(f"{type_of(result)} on no image of the task", item.where)
        for item in items
        for result in item.results
        if not any(place.shows(result) for place in places)
    ]


def _short(value: Any) -> str:
    return f"{value!s:.40}"


# ---------------------------------------------------------------- one image


def _image_record(task: Json, items: Sequence[_Item], place: ShownImage, left_out: Sequence[LeftOut]) -> ImageRecord:
    annotations: list[Annotation] = []
    predictions: list[Prediction] = []
    lost = list(left_out)
    size_hw: tuple[int, int] | None = None
    for item in items:
        found = read_regions(item.results if item.is_wanted else (), place, item.where)
        lost += found.left_out
        size_hw = size_hw or next((region.size_hw for region in found.regions), None)
        if item.key == "annotations":
            annotations.append(_annotation(item.content, found))
        else:
            predictions.append(_prediction(item.content, found.regions, found.lost_regions))
    sizes = (first_size_hw(item.results, place) for item in items if not item.is_wanted)
    return ImageRecord(
        task_id=identifier(task.get("id")),
        image=place.image,
        image_tag=place.tag.name,
        index=place.index,
        size_hw=size_hw or next((size for size in sizes if size), None),
        annotations=tuple(annotations),
        predictions=tuple(predictions),
        left_out=tuple(lost),
        project=whole_number(task.get("project")),
    )


def _annotation(content: Json, found: FoundRegions = NOTHING_READ) -> Annotation:
    return Annotation(
        id=identifier(content.get("id")),
        regions=found.regions,
        annotator=_annotator(content),
        skipped=bool(content.get("was_cancelled")),
        ground_truth=bool(content.get("ground_truth")),
        parent_prediction=whole_number(content.get("parent_prediction")),
        updated_at=str(content.get("updated_at") or ""),
        lead_time_s=finite_number(content.get("lead_time")),
        lost_regions=found.lost_regions,
        answers=found.answers,
    )


def _annotator(content: Json) -> int | str | None:
    """Return the address of the person, or their name and address as the API gives them, or else their number."""
    completed_by, named = content.get("completed_by"), content.get("created_username")
    if isinstance(completed_by, Mapping):
        return identifier(completed_by.get("email"))
    name, _, number = named.rpartition(",") if isinstance(named, str) else ("", "", "")
    is_that_person = name.strip() and number.strip() == str(completed_by)
    return name.strip() if is_that_person else identifier(completed_by)


def _prediction(content: Json, regions: tuple[Region, ...], lost_regions: int = 0) -> Prediction:
    return Prediction(
        id=identifier(content.get("id")),
        regions=regions,
        score=finite_number(content.get("score")),
        model_version=str(content.get("model_version") or ""),
        created_at=str(content.get("created_at") or ""),
        lost_regions=lost_regions,
    )

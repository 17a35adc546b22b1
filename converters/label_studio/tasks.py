"""Records to Label Studio tasks: the mirror of `reader`.

    {"data": {"image": address}, "predictions": [{"result": [...], "score", "model_version"}],
     "annotations": [{"result": [...], "was_cancelled", "ground_truth"}]}

The tasks are ready for `POST /api/projects/N/import` or for "Import" in the page. A region is written with the control
that it came from, or else with the first control of the config that has its label; a box goes to a rectangle control if
there is one. Brushes and bitmasks keep every
pixel. A polygon control gets one polygon for each connected part, with holes filled; a rectangle control gets one box.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal

from converters.encodings.bitmask import mask_to_data_url
from converters.encodings.brush import mask_to_brush_rle
from converters.encodings.coco_rle import coco_rle_bbox_xywh
from converters.encodings.masks import has_holes
from converters.encodings.polygons import mask_to_polygons
from converters.errors import LabelStudioFormatError
from converters.files.json_values import JsonObject
from converters.files.output import JsonList, write_json
from converters.label_studio.label_config import Control, ImageTag, LabelConfig
from converters.label_studio.region_details import details_to_results, unheld_details
from converters.records import Annotation, ImageRecord, Prediction, Region
from converters.selection import ConversionCounts, Tally
from converters.workers import ordered_map

WRITABLE_TAGS = ("BrushLabels", "BitmaskLabels", "PolygonLabels", "RectangleLabels")
"""The control tags that regions can be written for; the first two keep every pixel."""


LARGEST_IMPORT_BYTES = 250 << 20
"""Label Studio 1.23.2 refuses a file of tasks of so many bytes, unless its DATA_UPLOAD_MAX_MEMORY_SIZE is larger."""


def records_to_tasks(records: Iterable[ImageRecord], config: LabelConfig, *, workers: int = 1) -> Iterator[JsonObject]:
    """Convert records to tasks for import, one at a time.

    Args:
        records: the images; the images of one task (several `<Image>` tags) must come one after another. A record
            without an address, of which nothing could be read, makes no task.
        config: the label config of the project that the tasks are for.
        workers: how many processes encode; the tasks are the same, in the same order.

    Raises:
        LabelStudioFormatError: the config lacks the image tag of a record, or a control that can show a region.
    """
    return ordered_map(partial(_task, config=config), _by_task(r for r in records if r.image), workers)


def marked_as(
    record: ImageRecord, what: Literal["annotations", "predictions"] | None, model_version: str = ""
) -> ImageRecord:
    """Return the record with all its annotations and predictions as annotations, or all of them as predictions.

    With None they stay what they are. A prediction that names no model version gets `model_version`.

    A person starts from predictions and corrects them; annotations count as finished work. An annotation without a
    region becomes no prediction: Label Studio shows an empty prediction as if it were an answer.
    """
    if what == "annotations":
        made = tuple(Annotation(None, prediction.regions) for prediction in record.predictions)
        return replace(record, annotations=(*record.annotations, *made), predictions=())
    known = tuple(replace(p, model_version=p.model_version or model_version) for p in record.predictions)
    if what is None:
        return replace(record, predictions=known)
    guessed = tuple(
        Prediction(None, annotation.regions, model_version=model_version)
        for annotation in record.annotations
        if not annotation.skipped and annotation.regions
    )
    return replace(record, annotations=(), predictions=(*known, *guessed))


def write_tasks(
    records: Iterable[ImageRecord], config: LabelConfig, path: Path, *, workers: int = 1
) -> ConversionCounts:
    """Write records as a JSON file of tasks for import, one at a time; the file appears whole or not at all.

    A region that no control of the config can show is left out. Polygons lose holes and rectangles lose outlines; how
    often this happened is counted in `notes`.

    Args:
        records: the images; the images of one task must come one after another.
        config: the label config of the project that the tasks are for.
        path: the file to write.
        workers: how many processes encode; the file is the same.

    Raises:
        LabelStudioFormatError: the config lacks the image tag of a record, or there was no image to write.
        OutputError: the file cannot be written.
    """
    tally = Tally()
    tasks = JsonList(path.parent if path.parent.is_dir() else None)
    for task in records_to_tasks(_showable(records, config, tally), config, workers=workers):
        tasks.append(task)
    if not tally.images_out:
        raise LabelStudioFormatError(
            f"expected at least one image for {path.name}, got none: {tally.counts().reasons()}"
        )
    write_json(tasks, path)
    return tally.counts()


def _showable(records: Iterable[ImageRecord], config: LabelConfig, tally: Tally) -> Iterator[ImageRecord]:
    """Yield each record with only the regions that the config can show, and count all regions."""
    for record in records:
        tally.images_in += 1
        tally.take_over(record)
        if not record.image:
            continue
        tally.images_out += 1
        yield replace(
            record,
            annotations=tuple(replace(a, regions=_shown(a.regions, record, config, tally)) for a in record.annotations),
            predictions=tuple(replace(p, regions=_shown(p.regions, record, config, tally)) for p in record.predictions),
        )


def _shown(regions: Sequence[Region], record: ImageRecord, config: LabelConfig, tally: Tally) -> tuple[Region, ...]:
    shown = []
    for region in regions:
        tally.regions_in += 1
        try:
            kind = _control_for(region, config).kind
        except LabelStudioFormatError as error:
            tally.leave_out("region that no control can show", f"image {record.image}: {error}")
            continue
        tally.regions_out += 1
        tally.note("regions that became boxes", int(kind == "rectanglelabels" and region.box_xywh is None))
        tally.note("regions whose holes were filled", int(kind == "polygonlabels" and has_holes(region.mask())))
        for detail in unheld_details(region, config):
            where = f"image {record.image}, region {region.id!r}"
            tally.leave_out(f"{detail} that no control of the label config can hold", where)
        shown.append(region)
    return tuple(shown)


def region_to_results(region: Region, control: Control, image_name: str) -> list[JsonObject]:
    """Convert one region to results that a control can show: one result, or for polygons one result for each part.

    Args:
        region: the region; its id, origin and score are kept.
        control: a control of the kind brushlabels, bitmasklabels, polygonlabels or rectanglelabels.
        image_name: the name of the `<Image>` tag.
    """
    height, width = region.size_hw
    words = [label.result_name for label in control.labels if label.value in region.labels]
    known = {"score": region.score, "origin": region.origin}
    values = list(_values(region, control))
    return [
        {
            "id": region.id if len(values) == 1 else f"{region.id}-{part}",
            "from_name": control.name,
            "to_name": image_name,
            "type": control.kind,
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "value": {**value, control.kind: words},
            **{key: item for key, item in known.items() if item is not None},
        }
        for part, value in enumerate(values, start=1)
    ]


# ---------------------------------------------------------------- parts of a task


def _by_task(records: Iterable[ImageRecord]) -> Iterator[list[ImageRecord]]:
    """Group the images of one task: neighbouring records of one task number, no two with the same tag and index."""
    group: list[ImageRecord] = []
    for record in records:
        is_same = bool(group) and record.task_id is not None and record.task_id == group[0].task_id
        if group and not (is_same and all(_place(record) != _place(other) for other in group)):
            yield group
            group = []
        group.append(record)
    if group:
        yield group


def _place(record: ImageRecord) -> tuple[str, int]:
    return record.image_tag, record.index


def _task(records: Sequence[ImageRecord], config: LabelConfig) -> JsonObject:
    """Join the images of one task: the n-th annotations of all images become the n-th annotation of the task."""
    data: dict[str, Any] = {}
    for record in records:
        tag = _image_tag(record, config)
        if tag.is_list:
            data.setdefault(tag.data_key, []).append(record.image)
        else:
            data[tag.data_key] = record.image
    annotations = zip_longest(*([(record, item) for item in record.annotations] for record in records))
    predictions = zip_longest(*([(record, item) for item in record.predictions] for record in records))
    return {
        "data": data,
        "annotations": [_annotation([pair for pair in pairs if pair], config) for pairs in annotations],
        "predictions": [_prediction([pair for pair in pairs if pair], config) for pairs in predictions],
    }


def _annotation(pairs: Sequence[tuple[ImageRecord, Annotation]], config: LabelConfig) -> JsonObject:
    return {
        "result": [result for record, item in pairs for result in _results(item.regions, record, config)],
        "was_cancelled": pairs[0][1].skipped,
        "ground_truth": pairs[0][1].ground_truth,
    }


def _prediction(pairs: Sequence[tuple[ImageRecord, Prediction]], config: LabelConfig) -> JsonObject:
    first = pairs[0][1]
    known = {"score": first.score, "model_version": first.model_version or None}
    return {
        "result": [result for record, item in pairs for result in _results(item.regions, record, config)],
        **{key: value for key, value in known.items() if value is not None},
    }


def _results(regions: Sequence[Region], record: ImageRecord, config: LabelConfig) -> list[JsonObject]:
    results = [result for region in regions for result in _region_results(region, record.image_tag, config)]
    return results if record.index == 0 else [{**result, "item_index": record.index} for result in results]


def _region_results(region: Region, image_tag: str, config: LabelConfig) -> Iterator[JsonObject]:
    """Yield the results of a region, with its details; its keypoints belong to its first part."""
    for part, result in enumerate(region_to_results(region, _control_for(region, config), image_tag)):
        yield from details_to_results(region if part == 0 else replace(region, keypoints=()), result, config)


def _image_tag(record: ImageRecord, config: LabelConfig) -> ImageTag:
    for tag in config.images:
        if tag.name == record.image_tag:
            return tag
    raise LabelStudioFormatError(
        f"expected one of the config's images {[tag.name for tag in config.images]}, got {record.image_tag!r}"
    )


def _control_for(region: Region, config: LabelConfig) -> Control:
    """Return the control that the region came from, or else the first that can show it: for a box, a rectangle's."""
    able = [
        control
        for control in config.of_kind(*_VALUE_WRITERS)
        if region.labels and set(region.labels) <= set(control.label_values)
    ]
    if not able:
        raise LabelStudioFormatError(
            f"region {region.id!r}: expected a control of the config (of {sorted(_VALUE_WRITERS)}) with the labels "
            f"{list(region.labels)}, got none"
        )
    boxes = [control for control in able if control.kind == "rectanglelabels" and region.box_xywh is not None]
    return next((control for control in able if control.name == region.control), (*boxes, *able)[0])


# ---------------------------------------------------------------- values


def _values(region: Region, control: Control) -> Iterator[JsonObject]:
    if control.kind not in _VALUE_WRITERS:
        raise LabelStudioFormatError(f"expected a control of {sorted(_VALUE_WRITERS)}, got {control.kind!r}")
    yield from _VALUE_WRITERS[control.kind](region)


def _brush(region: Region) -> Iterator[JsonObject]:
    yield {"format": "rle", "rle": mask_to_brush_rle(region.mask())}


def _bitmask(region: Region) -> Iterator[JsonObject]:
    yield {"imageDataURL": mask_to_data_url(region.mask())}


def _polygon(region: Region) -> Iterator[JsonObject]:
    height, width = region.size_hw
    drawn = [region.polygon] if region.polygon else [p.tolist() for p in mask_to_polygons(region.mask())]
    for points in drawn:
        yield {"points": [[x * 100 / width, y * 100 / height] for x, y in points], "closed": True}


def _rectangle(region: Region) -> Iterator[JsonObject]:
    height, width = region.size_hw
    x, y, box_width, box_height = region.box_xywh or coco_rle_bbox_xywh(region.rle)
    yield {
        "x": x * 100 / width,
        "y": y * 100 / height,
        "width": box_width * 100 / width,
        "height": box_height * 100 / height,
        "rotation": 0,
    }


_VALUE_WRITERS = {
    "brushlabels": _brush,
    "bitmasklabels": _bitmask,
    "polygonlabels": _polygon,
    "rectanglelabels": _rectangle,
}

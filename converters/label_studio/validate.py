"""Faults that Label Studio drops or hides in silence, found in tasks, exports and predictions.

    file -- json_stream --> tasks --> annotations, predictions --> results --> Finding, Finding, ...

A finding says where the fault is (task, annotation or prediction, region), what is wrong, and what to do. Its `kind` is
one word for programs (`findings.KINDS`). Nothing is corrected. The faults were observed in Label Studio 1.23.2: a mask
of 0 and 1 is listed and invisible, an RLE of another size is painted as garbage, a truncated RLE stops the page, and a
prediction with an empty result or an unknown label is stored without a word. Its editor's source says more: an open
polygon is a line, an unknown choice is not selected, a second relation between the same regions is dropped.
"""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converters.encodings.masks import MAX_PIXELS, require_size
from converters.errors import ConverterError, LabelStudioFormatError
from converters.files.image_files import SizeLookup, image_file_name
from converters.files.json_stream import read_json_array
from converters.files.json_values import Json, identifier, whole_number
from converters.label_studio.categories import label_kind
from converters.label_studio.field_faults import item_field_faults, relation_faults, result_field_faults, score_faults
from converters.label_studio.findings import Fault, Finding
from converters.label_studio.label_config import Control, LabelConfig
from converters.label_studio.own_attributes import impossible_values, unread_attributes
from converters.label_studio.reader import full_task
from converters.label_studio.repeats import FileRepeats, RegionRepeats
from converters.label_studio.shape_faults import shape_faults
from converters.label_studio.shapes import shape_of, shape_tool
from converters.label_studio.value_faults import value_faults

_SHAPED_TOOLS = ("brush", "bitmask", "polygon", "rectangle", "ellipse", "keypoint")
_SHAPED_TYPES = frozenset({*_SHAPED_TOOLS, *(f"{tool}labels" for tool in _SHAPED_TOOLS)})


@dataclass(frozen=True)
class Expectations:
    """What a file is compared with.

    Attributes:
        config: the project's label config.
        size_of: a look-up of the size of an image by its file name, EXIF applied (None: sizes are not checked).
        image_root: the part of the tasks' addresses in front of the file names.
        negatives: whether annotations without a region are meant, because there is nothing to see in their images.
        max_pixels: the largest image that is decoded.
    """

    config: LabelConfig
    size_of: SizeLookup | None = None
    image_root: str = ""
    negatives: bool = False
    max_pixels: int = MAX_PIXELS


@dataclass
class Seen:
    """How many tasks and results were checked."""

    tasks: int = 0
    results: int = 0


def validate_config(config: LabelConfig) -> Iterator[Finding]:
    """Yield the faults of a label config that Label Studio takes without a word: attributes that nobody reads."""
    place = (None, "label config", "")
    for unread in unread_attributes(config):
        yield Finding("unread-attribute", *place, unread.what, unread.advice)
    for message in impossible_values(config, label_kind):
        yield Finding("bad-attribute", *place, message, "The backend refuses the label config: correct the value.")


def validate_file(path: Path, expected: Expectations, seen: Seen) -> Iterator[Finding]:
    """Yield the faults in a file, task by task, in bounded memory.

    Args:
        path: a file of tasks for import, an export, or tasks as the API gives them.
        expected: what the file is compared with.
        seen: the counts of what was checked; they grow while the findings are read.

    Raises:
        LabelStudioFormatError: the file is no JSON, or ends too early.
        OSError: the file cannot be opened.
    """
    return validate_tasks(read_json_array(path), expected, seen)


def validate_tasks(tasks: Iterable[Any], expected: Expectations, seen: Seen) -> Iterator[Finding]:
    """Yield the faults in tasks; `expected` and `seen` are those of `validate_file`."""
    repeats = FileRepeats()
    for position, task in enumerate(tasks):
        seen.tasks += 1
        yield from _Task(task, position, expected, seen, repeats).findings()


class _Task:
    """One task while it is checked."""

    def __init__(self, task: Any, position: int, expected: Expectations, seen: Seen, repeats: FileRepeats) -> None:
        self._task = task
        self._position = position
        self._expected = expected
        self._seen = seen
        self._repeats = repeats
        self._item = ""
        self._region = ""
        self._image_sizes: dict[tuple[str, int], tuple[int, int]] = {}
        self._image_counts: dict[str, int] = {}
        self._number: int | str = position

    def findings(self) -> Iterator[Finding]:
        try:
            task = full_task(self._task, self._expected.config, self._position)
        except LabelStudioFormatError as error:
            yield self._finding("unreadable-task", str(error), "Label Studio imports objects with 'data'.")
            return
        number = identifier(task.get("id"))
        self._number = self._position if number is None else number
        yield from self._here(self._repeats.task(self._task, self._position))
        yield from self._images(task)
        for key in ("annotations", "predictions"):
            yield from self._items(task, key)

    def _finding(self, kind: str, what: str, advice: str) -> Finding:
        return Finding(kind, self._number, self._item, self._region, what, advice)

    def _here(self, faults: Iterable[Fault]) -> Iterator[Finding]:
        """Yield faults as findings at the place that is being looked at."""
        return (self._finding(fault.kind, fault.what, fault.advice) for fault in faults)

    def _images(self, task: Json) -> Iterator[Finding]:
        """Check the addresses of the images, and look up their sizes."""
        shown: dict[str, list[str]] = {}
        for tag in self._expected.config.images:
            address = task["data"].get(tag.data_key)
            addresses = address if isinstance(address, list) else [address]
            shown[tag.data_key] = [name for name in addresses if isinstance(name, str) and name]
            self._image_counts[tag.name] = len(addresses)
            if not addresses:
                what = f"expected at least one address of an image in data.{tag.data_key}, got an empty list"
                yield self._finding("unreadable-task", what, "Without it the page stays empty.")
            for index, name in enumerate(addresses):
                if not isinstance(name, str) or not name:
                    what = f"expected the address of the image {tag.name!r} in data.{tag.data_key}, got {name!r:.60}"
                    yield self._finding("unreadable-task", what, "Without it the page stays empty.")
                elif self._expected.size_of:
                    yield from self._look_up(name, (tag.name, index), self._expected.size_of)
        yield from self._here(self._repeats.images([name for names in shown.values() for name in names], self._number))

    def _look_up(self, address: str, place: tuple[str, int], size_of: SizeLookup) -> Iterator[Finding]:
        try:
            size_hw = size_of(image_file_name(address, self._expected.image_root))
        except ConverterError:
            size_hw = None
        if size_hw is None:
            what = f"expected an image for {address!r:.100}, got none that can be read"
            yield self._finding("missing-image", what, "Name its folder with --images and the rest with --image-root.")
        else:
            self._image_sizes[place] = size_hw

    # ------------------------------------------------------------ annotations and predictions

    def _items(self, task: Json, key: str) -> Iterator[Finding]:
        items = task.get(key)
        if items is not None and not isinstance(items, list):
            what = f"expected {key} to be a list, got {type(items).__name__}"
            yield self._finding("unreadable-item", what, "It is ignored.")
            return
        for position, item in enumerate(items or []):
            self._item = (
                f"{key.removesuffix('s')} {item.get('id', position) if isinstance(item, Mapping) else position}"
            )
            if isinstance(item, Mapping):
                yield from self._here(self._repeats.item(item, key, self._number))
                yield from self._about_item(item, key, task)
            elif isinstance(item, bool) or not isinstance(item, int):  # exports have bare ids
                what = f"expected an object, got {type(item).__name__}"
                yield self._finding("unreadable-item", what, "It is ignored.")
        self._item = ""

    def _about_item(self, item: Json, key: str, task: Json) -> Iterator[Finding]:
        yield from self._here(item_field_faults(item))
        if key == "predictions":
            yield from self._about_prediction(item)
        else:
            yield from self._about_parent(item, task)
        results = item.get("result")
        if not isinstance(results, list):
            what = f"expected 'result' to be a list, got {type(results).__name__}"
            yield self._finding("unreadable-item", what, "Nothing of it is shown.")
            return
        meant = item.get("was_cancelled") or (self._expected.negatives and key == "annotations")
        if not results and not meant:
            what = f"the {key.removesuffix('s')} holds no region"
            advice = (
                "If there is nothing to see, say --negatives." if key == "annotations" else "Leave the prediction out."
            )
            yield self._finding("empty-result", what, advice)
        yield from self._results(results)

    def _about_prediction(self, item: Json) -> Iterator[Finding]:
        if not isinstance(item.get("model_version"), str) or not item["model_version"]:
            what = f"expected a model_version, got {item.get('model_version')!r:.40}"
            advice = "Name one: Label Studio shows and re-asks predictions by it."
            yield self._finding("no-model-version", what, advice)
        yield from self._here(score_faults(item))

    def _about_parent(self, annotation: Json, task: Json) -> Iterator[Finding]:
        """Check that the prediction that an annotation replaced is there, unless the file holds no predictions."""
        parent, predictions = whole_number(annotation.get("parent_prediction")), task.get("predictions")
        if parent is None or not isinstance(predictions, list) or not predictions:
            return
        there = [*predictions, annotation.get("prediction")]
        ids = {str(item.get("id") if isinstance(item, Mapping) else item) for item in there}
        if str(parent) not in ids:
            what = f"expected parent_prediction to be a prediction of the task, got {parent}"
            yield self._finding("missing-prediction", what, "Corrections are not compared with it: correct the number.")

    # ------------------------------------------------------------ results

    def _results(self, results: Sequence[Any]) -> Iterator[Finding]:
        known: dict[str, tuple[Json, set[str]]] = {}
        objects = [result for result in results if isinstance(result, Mapping)]
        ids = {str(result["id"]) for result in objects if result.get("id")}
        sizes: dict[tuple[str, int], tuple[int, int]] = {}
        related: set[tuple[str, str]] = set()
        repeats = RegionRepeats()
        for result in results:
            self._seen.results += 1
            if not isinstance(result, Mapping):
                what = f"expected a result to be an object, got {type(result).__name__}"
                yield self._finding("unreadable-item", what, "It is ignored.")
                continue
            self._region = f"region {result['id']!s:.40}" if result.get("id") else ""
            if result.get("type") == "relation":
                yield from self._here(relation_faults(result, ids, self._expected.config.relations))
                yield from self._about_second_relation(result, related)
            else:
                yield from self._about_result(result, sizes)
                yield from self._about_id(result, known)
                yield from self._about_parent_region(result, ids)
                yield from self._here(repeats.region(result))
            self._region = ""

    def _about_second_relation(self, result: Json, related: set[tuple[str, str]]) -> Iterator[Finding]:
        ends = (str(result.get("from_id")), str(result.get("to_id")))
        if ends in related:
            what = f"another relation goes from {ends[0]:.40} to {ends[1]:.40}"
            yield self._finding("bad-relation", what, "The second is dropped: join their labels.")
        related.add(ends)

    def _about_parent_region(self, result: Json, ids: set[str]) -> Iterator[Finding]:
        parent = identifier(result.get("parentID"))
        if parent not in (None, "") and str(parent) not in ids:
            what = f"expected parentID to be the id of a region, got {parent!r:.40}"
            yield self._finding("missing-region", what, "The region stands alone: correct the id, or leave it out.")

    def _about_id(self, result: Json, known: dict[str, tuple[Json, set[str]]]) -> Iterator[Finding]:
        """Check that two regions do not share an id; the shape and the labels of one region may."""
        if not result.get("id"):
            return
        control = str(result.get("from_name"))
        shape, controls = known.setdefault(str(result["id"]), (shape_of(result), set()))
        if control in controls or shape_of(result) not in ({}, shape):
            what = "another region of this result has the same id"
            yield self._finding("duplicate-id", what, "One of them is hidden: give each an id of its own, or none.")
        controls.add(control)

    def _about_result(self, result: Json, sizes: dict[tuple[str, int], tuple[int, int]]) -> Iterator[Finding]:
        control = yield from self._about_names(result)
        kind = result.get("type")
        wanted = control.kind if control else "of a control, in lower case"
        if not isinstance(kind, str) or not kind or (control and kind != control.kind):
            what = f"expected the type {wanted!r}, got {kind!r:.40}"
            yield self._finding("unknown-type", what, "The result is dropped: name its own control and that one's tag.")
        yield from self._about_index(result)
        yield from self._here(score_faults(result))
        yield from self._here(result_field_faults(result))
        value = result.get("value")
        if not isinstance(value, Mapping):
            what = f"expected 'value' to be an object, got {type(value).__name__}"
            yield self._finding("unreadable-item", what, "The result is dropped.")
            return
        if control:
            yield from self._here(value_faults(value, control))
        tool = shape_tool(value)
        if tool:
            yield from self._about_tool(tool, str(kind))
            yield from self._about_shape(result, sizes)
        elif kind in _SHAPED_TYPES:
            what = f"expected the shape of a region of type {kind!r}, got the keys {sorted(value)!r:.100}"
            yield self._finding("no-shape", what, "It is listed and invisible.")

    def _about_tool(self, tool: str, kind: str) -> Iterator[Finding]:
        wanted = kind.removesuffix("labels")
        if wanted in _SHAPED_TOOLS and tool != wanted:
            what = f"expected the shape of a {wanted}, got that of a {tool}"
            yield self._finding("other-shape", what, "Name the control that draws such shapes, or convert the shape.")

    def _about_index(self, result: Json) -> Iterator[Finding]:
        count = self._image_counts.get(str(result.get("to_name")))
        index = result.get("item_index") or 0
        if count is not None and index not in range(count):
            what = f"expected an item_index from 0 to {count - 1}, got {index!r:.40}"
            yield self._finding("unknown-image", what, "The region is on no image: number them from 0.")

    def _about_names(self, result: Json) -> Generator[Finding, None, Control | None]:
        """Yield findings about the names in a result; return the control that it names, None if the config has none."""
        names = {key: result.get(key) for key in ("from_name", "to_name")}
        for key, name in names.items():
            if not isinstance(name, str) or not name:
                what = f"expected {key}, got {name!r:.40}"
                yield self._finding(
                    "missing-name", what, "The result is dropped: name control and image of the config."
                )
        config = self._expected.config
        control = next((control for control in config.controls if control.name == names["from_name"]), None)
        if control is None and names["from_name"]:
            what = (
                f"expected a control of the config {[c.name for c in config.controls]}, got {names['from_name']!r:.60}"
            )
            yield self._finding("unknown-control", what, "The result is dropped: correct from_name, or the config.")
        if control and names["to_name"] and names["to_name"] not in map(str.strip, control.to_name.split(",")):
            what = f"expected to_name {control.to_name!r} of the control {control.name!r}, got {names['to_name']!r:.60}"
            yield self._finding("unknown-control", what, "The result is dropped: correct to_name, or the config.")
        return control

    # ------------------------------------------------------------ shapes

    def _about_shape(self, result: Json, sizes: dict[tuple[str, int], tuple[int, int]]) -> Iterator[Finding]:
        try:
            size_hw = require_size(
                (result.get("original_height"), result.get("original_width")),  # type: ignore[arg-type]
                max_pixels=self._expected.max_pixels,
            )
        except ConverterError as error:
            advice = "original_width and original_height are the image's size in pixels, after EXIF rotation."
            yield self._finding("bad-size", str(error), advice)
            return
        yield from self._about_image_size(result, size_hw, sizes)
        yield from self._here(shape_faults(result, size_hw, max_pixels=self._expected.max_pixels))

    def _about_image_size(
        self, result: Json, size_hw: tuple[int, int], sizes: dict[tuple[str, int], tuple[int, int]]
    ) -> Iterator[Finding]:
        index = result.get("item_index")
        place = (str(result.get("to_name")), index if isinstance(index, int) else 0)
        first = sizes.setdefault(place, size_hw)
        actual = self._image_sizes.get(place)
        if actual is None and first != size_hw:
            what = f"expected {_wxh(first)} as the other regions of the image say, got {_wxh(size_hw)}"
            yield self._finding("wrong-size", what, "One image has one size.")
        if actual is not None and actual != size_hw:
            what = f"expected {_wxh(actual)}, the size of the image as it is shown, got {_wxh(size_hw)}"
            turned = actual == size_hw[::-1]
            advice = (
                "Sides are exchanged: the page applies EXIF orientation, so must who makes the mask."
                if turned
                else "Masks belong to the image at its full size: scale the mask, not the numbers."
            )
            yield self._finding("wrong-size", what, advice)


def _wxh(size_hw: tuple[int, int]) -> str:
    return f"{size_hw[1]}x{size_hw[0]}"

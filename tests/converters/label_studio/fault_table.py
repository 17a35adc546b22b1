"""A valid file of two tasks with a region of every tool, and a table of small faults to put into it.

A fault is (path, value, kinds): the value that is put at the path of a fresh copy of `export()`, and the kinds of the
findings that the fault must give, all of them. A path begins with a name of `PLACES` or with the number of a task.
"""

import io
from base64 import b64encode
from collections.abc import Callable
from enum import Enum
from typing import Any

import numpy as np
from PIL import Image

from converters.encodings.bitmask import mask_to_data_url
from converters.encodings.brush import alpha_to_brush_rle, mask_to_brush_rle
from converters.label_studio.label_config import parse_label_config

WIDTH, HEIGHT = 36, 24
CONFIG = parse_label_config(
    """<View><Image name="image" value="$image"/>
    <BrushLabels name="brush" toName="image"><Label value="cat"/><Label value="dog" alias="d"/></BrushLabels>
    <BitmaskLabels name="bitmask" toName="image"><Label value="cat"/></BitmaskLabels>
    <PolygonLabels name="polygon" toName="image"><Label value="cat"/><Label value="cow"/></PolygonLabels>
    <RectangleLabels name="box" toName="image"><Label value="cat"/></RectangleLabels>
    <EllipseLabels name="ellipse" toName="image"><Label value="cat"/></EllipseLabels>
    <KeyPointLabels name="point" toName="image"><Label value="nose"/></KeyPointLabels>
    <Brush name="tool" toName="image"/><Labels name="words" toName="image"><Label value="cat"/></Labels>
    <Choices name="quality" toName="image"><Choice value="good"/><Choice value="bad" alias="b"/></Choices>
    <Choices name="seen" toName="image" perRegion="true" choice="multiple">
      <Choice value="near"/><Choice value="far"/></Choices>
    <Taxonomy name="kind" toName="image"><Choice value="animal"><Choice value="cat"/></Choice></Taxonomy>
    <TextArea name="note" toName="image"/><Rating name="stars" toName="image" maxRating="4"/>
    <Number name="count" toName="image" min="0" max="10"/><DateTime name="day" toName="image"/>
    <Pairwise name="better" toName="image"/>
    <Relations><Relation value="beside"/></Relations></View>"""
)


class _Delete(Enum):
    """A value of its own whose text is the same in every process, because it is part of the tests' names."""

    DELETE = "deleted"

    def __repr__(self) -> str:
        return "DELETE"


DELETE = _Delete.DELETE
MASK = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
MASK[4:12, 6:20] = True
OTHER = ~MASK
EMPTY = np.zeros_like(MASK)
RLE = mask_to_brush_rle(MASK)
URL = mask_to_data_url(OTHER)
SQUARE = [[10.0, 10.0], [60.0, 10.0], [60.0, 60.0], [10.0, 60.0]]
BOX = {"x": 20.0, "y": 20.0, "width": 50.0, "height": 40.0, "rotation": 0}
ROUND = {"x": 50.0, "y": 50.0, "radiusX": 20.0, "radiusY": 10.0, "rotation": 0}
NAN = float("nan")


def png(mode: str, value: int | tuple[int, ...], size: tuple[int, int] = (WIDTH, HEIGHT)) -> str:
    """Return a PNG of one colour as a data URL."""
    return url_of(lambda file: Image.new(mode, size, value).save(file, "PNG"))


def url_of(save: Callable[[io.BytesIO], None], kind: str = "png") -> str:
    """Return what `save` writes as a data URL."""
    file = io.BytesIO()
    save(file)
    return f"data:image/{kind};base64," + b64encode(file.getvalue()).decode()


JPEG = url_of(lambda file: Image.new("RGB", (WIDTH, HEIGHT)).save(file, "JPEG"), "jpeg")


def export() -> list[Any]:
    """Return a fresh copy of the valid file."""
    names = ("brush", "bitmask", "polygon", "box", "ellipse", "point")
    types = ("brushlabels", "bitmasklabels", "polygonlabels", "rectanglelabels", "ellipselabels", "keypointlabels")
    values: tuple[dict[str, Any], ...] = (
        {"format": "rle", "rle": list(RLE)},
        {"imageDataURL": URL},
        {"points": [list(point) for point in SQUARE], "closed": True},
        dict(BOX),
        dict(ROUND),
        {"x": 50.0, "y": 50.0, "width": 0.5},
    )
    size = {"original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0}
    regions: list[dict[str, Any]] = [
        {"id": f"r-{name}", "from_name": name, "to_name": "image", "type": kind, **size,
         "value": {**value, kind: ["nose" if name == "point" else "cat"]}, "origin": "manual"}
        for name, kind, value in zip(names, types, values, strict=True)
    ]  # fmt: skip
    drawn = {"to_name": "image", **size, "id": "r-tool"}
    said = {"to_name": "image"}
    words: list[dict[str, Any]] = [
        {**drawn, "from_name": "tool", "type": "brush", "value": {"rle": mask_to_brush_rle(np.roll(MASK, 9))}},
        {**drawn, "from_name": "words", "type": "labels",
         "value": {"rle": mask_to_brush_rle(np.roll(MASK, 9)), "labels": ["cat"]}},
        {**drawn, "from_name": "seen", "type": "choices",
         "value": {"rle": mask_to_brush_rle(np.roll(MASK, 9)), "choices": ["near", "far"]}},
        {**said, "id": "c", "from_name": "quality", "type": "choices", "value": {"choices": ["good"]}},
        {**said, "id": "t", "from_name": "kind", "type": "taxonomy", "value": {"taxonomy": [["animal", "cat"]]}},
        {**said, "id": "n", "from_name": "note", "type": "textarea", "value": {"text": ["two words"]}},
        {**said, "id": "s", "from_name": "stars", "type": "rating", "value": {"rating": 3}},
        {**said, "id": "u", "from_name": "count", "type": "number", "value": {"number": 5}},
        {**said, "id": "d", "from_name": "day", "type": "datetime", "value": {"datetime": "2026-01-31"}},
        {**said, "id": "b", "from_name": "better", "type": "pairwise", "value": {"selected": "left"}},
        {"type": "relation", "from_id": "r-brush", "to_id": "r-box", "direction": "right", "labels": ["beside"]},
        {"type": "relation", "from_id": "r-box", "to_id": "r-brush", "direction": "bi"},
    ]  # fmt: skip
    predicted = {"id": "q", "from_name": "brush", "to_name": "image", "type": "brushlabels", **size, "score": 0.5,
                 "value": {"format": "rle", "rle": list(RLE), "brushlabels": ["d"]}}  # fmt: skip
    times = {"created_at": "2026-01-31T12:00:00.123456Z", "updated_at": "2026-01-31T12:00:00Z"}
    return [
        {"id": number, "data": {"image": f"{number}.png"},
         "annotations": [{"id": 10 + number, "completed_by": 1, "was_cancelled": False, "ground_truth": False,
                          "lead_time": 8.5, **times, "unique_id": f"u{number}", "parent_prediction": 20 + number,
                          "result": [*regions, *words] if number == 1 else [dict(predicted)]}],
         "predictions": [{"id": 20 + number, "model_version": "v1", "score": 0.5, **times,
                          "result": [dict(predicted), {**predicted, "id": "q2", "value": {
                              "rle": mask_to_brush_rle(OTHER), "brushlabels": ["cat"]}}]}]}
        for number in (1, 2)
    ]  # fmt: skip


_RESULTS = (
    *("brush", "bitmask", "polygon", "box", "ellipse", "point", "tool", "words", "seen", "quality", "kind", "note"),
    *("stars", "count", "day", "better", "relation", "back"),
)
PLACES = {
    "annotation": "0.annotations.0",
    "prediction": "0.predictions.0",
    **{name: f"0.annotations.0.result.{position}" for position, name in enumerate(_RESULTS)},
    "guess": "0.predictions.0.result.0",
}

FAULTS: list[tuple[str, Any, str]] = [
    # tasks and images
    ("0", 5, "unreadable-task"),
    ("0", None, "unreadable-task"),
    ("0", [], "unreadable-task"),
    ("0.data", DELETE, "unreadable-task"),
    ("0.data", None, "unreadable-task"),
    ("0.data", "1.png", "unreadable-task"),
    ("0.data", {}, "unreadable-task"),
    ("0.data.image", None, "unreadable-task"),
    ("0.data.image", "", "unreadable-task"),
    ("0.data.image", 5, "unreadable-task"),
    ("0.data.image", {"url": "1.png"}, "unreadable-task"),
    ("0.data.image", [], "unreadable-task unknown-image"),
    ("0.data.image", ["1.png", ""], "unreadable-task"),
    ("1.id", 1, "duplicate-task"),
    ("1.id", "1", "duplicate-task"),
    ("1.data.image", "1.png", "duplicate-image"),
    ("1.data.image", ["1.png"], "duplicate-image"),
    ("0.data.image", ["1.png", "1.png"], "duplicate-image"),
    # annotations and predictions
    ("0.annotations", {}, "unreadable-item"),
    ("0.annotations", "none", "unreadable-item"),
    ("0.predictions", 5, "unreadable-item"),
    ("0.predictions", {"result": []}, "unreadable-item"),
    ("annotation", "x", "unreadable-item"),
    ("annotation", None, "unreadable-item"),
    ("annotation", True, "unreadable-item"),
    ("prediction", [], "unreadable-item missing-prediction"),
    ("prediction", 1.5, "unreadable-item missing-prediction"),
    ("annotation.result", DELETE, "unreadable-item"),
    ("annotation.result", None, "unreadable-item"),
    ("annotation.result", "[]", "unreadable-item"),
    ("prediction.result", {}, "unreadable-item"),
    ("annotation.result", [], "empty-result"),
    ("prediction.result", [], "empty-result"),
    ("prediction.model_version", DELETE, "no-model-version"),
    ("prediction.model_version", "", "no-model-version"),
    ("prediction.model_version", 5, "no-model-version"),
    ("prediction.score", 85, "bad-score"),
    ("prediction.score", -0.1, "bad-score"),
    ("prediction.score", "0.5", "bad-score"),
    ("prediction.score", NAN, "bad-score"),
    ("prediction.score", True, "bad-score"),
    ("1.predictions.0.id", 21, "duplicate-item missing-prediction"),
    ("1.annotations.0.id", 11, "duplicate-item"),
    ("1.annotations.0.id", "11", "duplicate-item"),
    ("1.annotations.0.unique_id", "u1", "duplicate-item"),
    ("annotation.parent_prediction", 99, "missing-prediction"),
    ("annotation.parent_prediction", "21", "bad-field"),
    ("annotation.parent_prediction", True, "bad-field"),
    ("annotation.parent_annotation", "11", "bad-field"),
    ("annotation.id", 1.5, "bad-field"),
    ("annotation.unique_id", 5, "bad-field"),
    ("annotation.was_cancelled", "no", "bad-field"),
    ("annotation.was_cancelled", 0, "bad-field"),
    ("annotation.ground_truth", "yes", "bad-field"),
    ("annotation.lead_time", -1, "bad-field"),
    ("annotation.lead_time", "8.5", "bad-field"),
    ("annotation.lead_time", NAN, "bad-field"),
    ("annotation.created_at", "yesterday", "bad-field"),
    ("annotation.updated_at", 1738324800, "bad-field"),
    ("prediction.created_at", "31.01.2026", "bad-field"),
    ("annotation.completed_by", [], "bad-field"),
    # the fields of a result
    ("brush", 5, "unreadable-item missing-region"),
    ("polygon", None, "unreadable-item"),
    ("ellipse", "region", "unreadable-item"),
    ("brush.from_name", DELETE, "missing-name"),
    ("bitmask.from_name", None, "missing-name"),
    ("polygon.from_name", "", "missing-name"),
    ("quality.from_name", 5, "missing-name unknown-control"),
    ("box.from_name", "rectangle", "unknown-control"),
    ("point.from_name", "Point", "unknown-control"),
    ("brush.from_name", "polygon", "unknown-type no-label"),
    ("ellipse.to_name", DELETE, "missing-name"),
    ("note.to_name", "", "missing-name"),
    ("polygon.to_name", "photo", "unknown-control"),
    ("stars.to_name", "stars", "unknown-control"),
    ("brush.type", "brush", "unknown-type"),
    ("bitmask.type", "brushlabels", "unknown-type other-shape"),
    ("polygon.type", None, "unknown-type"),
    ("box.type", DELETE, "unknown-type"),
    ("ellipse.type", "EllipseLabels", "unknown-type"),
    ("kind.type", "choices", "unknown-type"),
    ("relation.type", "relations", "missing-name unreadable-item"),
    ("brush.item_index", 1, "unknown-image"),
    ("polygon.item_index", -1, "unknown-image"),
    ("box.item_index", "0", "unknown-image"),
    ("point.item_index", 0.5, "unknown-image"),
    ("brush.score", 2, "bad-score"),
    ("polygon.score", "high", "bad-score"),
    ("box.score", NAN, "bad-score"),
    ("guess.score", -1, "bad-score"),
    ("bitmask.score", [0.5], "bad-score"),
    ("brush.readonly", "no", "bad-field"),
    ("polygon.hidden", 1, "bad-field"),
    ("box.meta", "a note", "bad-field"),
    ("bitmask.image_rotation", 45, "bad-field"),
    ("ellipse.image_rotation", "90", "bad-field"),
    ("point.id", 1.5, "bad-field"),
    ("polygon.parentID", "r-99", "missing-region"),
    ("box.parentID", 5.5, "bad-field"),
    ("brush.value", None, "unreadable-item"),
    ("polygon.value", [], "unreadable-item"),
    ("quality.value", "good", "unreadable-item"),
    ("point.value", DELETE, "unreadable-item"),
    ("box.value", {}, "no-label no-shape"),
    # labels
    ("brush.value.brushlabels", DELETE, "no-label"),
    ("bitmask.value.bitmasklabels", [], "no-label"),
    ("polygon.value.polygonlabels", "cat", "no-label"),
    ("box.value.rectanglelabels", [5], "no-label"),
    ("words.value.labels", None, "no-label"),
    ("brush.value.brushlabels", ["Cat"], "unknown-label"),
    ("guess.value.brushlabels", ["dog"], "unknown-label"),
    ("polygon.value.polygonlabels", ["cat", "horse"], "unknown-label"),
    ("bitmask.value.bitmasklabels", [""], "unknown-label"),
    ("box.value.rectanglelabels", ["cat "], "unknown-label"),
    ("ellipse.value.ellipselabels", ["cow"], "unknown-label"),
    ("point.value.keypointlabels", ["cat"], "unknown-label"),
    ("words.value.labels", ["animal"], "unknown-label"),
    # choices, texts, numbers, dates
    ("quality.value.choices", ["Good"], "unknown-choice"),
    ("quality.value.choices", ["bad"], "unknown-choice"),
    ("quality.value.choices", [["good", "b"]], "unknown-choice"),
    ("seen.value.choices", ["near", "here"], "unknown-choice"),
    ("quality.value.choices", "good", "bad-value"),
    ("quality.value.choices", [], "bad-value"),
    ("quality.value.choices", ["good", "b"], "bad-value"),
    ("quality.value", {"choice": "good"}, "bad-value"),
    ("kind.value.taxonomy", [["animal", "dog"]], "unknown-choice"),
    ("kind.value.taxonomy", [["cat"]], "unknown-choice"),
    ("kind.value.taxonomy", ["animal"], "bad-value"),
    ("kind.value.taxonomy", [[]], "bad-value"),
    ("note.value.text", 5, "bad-value"),
    ("note.value.text", ["a", None], "bad-value"),
    ("stars.value.rating", 5, "bad-value"),
    ("stars.value.rating", "3", "bad-value"),
    ("stars.value.rating", -1, "bad-value"),
    ("stars.value.rating", 2.5, "bad-value"),
    ("count.value.number", "5", "bad-value"),
    ("count.value.number", 11, "bad-value"),
    ("count.value.number", -1, "bad-value"),
    ("count.value.number", NAN, "bad-value"),
    ("day.value.datetime", 20260131, "bad-value"),
    ("day.value.datetime", "", "bad-value"),
    ("better.value.selected", "up", "bad-value"),
    # relations and repeated regions
    ("relation.from_id", "r-99", "missing-region"),
    ("relation.to_id", DELETE, "missing-region"),
    ("relation.to_id", "n1", "missing-region"),
    ("relation.direction", "up", "bad-relation"),
    ("relation.direction", None, "bad-relation"),
    ("relation.labels", "beside", "bad-relation"),
    ("relation.labels", [5], "bad-relation"),
    ("relation.labels", ["above"], "unknown-label"),
    ("back.to_id", "r-ghost", "missing-region"),
    ("back", {"type": "relation", "from_id": "r-brush", "to_id": "r-box"}, "bad-relation"),
    ("polygon.id", "r-brush", "duplicate-id"),
    ("point.id", "r-bitmask", "duplicate-id"),
    ("prediction.result.1.id", "q", "duplicate-id"),
    ("bitmask", {**export()[0]["annotations"][0]["result"][0], "id": "r-new"}, "identical-regions"),
    ("brush", {**export()[0]["annotations"][0]["result"][1], "id": "r-brush"}, "identical-regions"),
    ("bitmask", {**export()[0]["annotations"][0]["result"][2], "id": "r-new"}, "identical-regions"),
    ("polygon", {**export()[0]["annotations"][0]["result"][3], "id": "r-new"}, "identical-regions"),
    ("polygon", {**export()[0]["annotations"][0]["result"][4], "id": DELETE}, "identical-regions"),
    ("ellipse", {**export()[0]["annotations"][0]["result"][5], "id": "r-new"}, "identical-regions"),
    ("prediction.result.1", {**export()[0]["predictions"][0]["result"][0], "id": "q2"}, "identical-regions"),
    # sizes
    ("brush.original_width", DELETE, "bad-size"),
    ("bitmask.original_height", None, "bad-size"),
    ("polygon.original_width", 0, "bad-size"),
    ("box.original_height", -24, "bad-size"),
    ("ellipse.original_width", "36", "bad-size"),
    ("point.original_width", 36.5, "bad-size"),
    ("brush.original_width", 10**9, "bad-size"),
    ("polygon.original_width", 360, "wrong-size"),
    ("box.original_height", 48, "wrong-size"),
    ("guess.original_width", 18, "wrong-size"),
    # brushes
    ("brush.value.rle", DELETE, "no-shape"),
    ("brush.value.rle", None, "truncated-mask"),
    ("brush.value.rle", [], "truncated-mask"),
    ("brush.value.rle", RLE[:5], "truncated-mask"),
    ("brush.value.rle", RLE[:-3], "truncated-mask"),
    ("guess.value.rle", RLE[: len(RLE) // 2], "truncated-mask"),
    ("tool.value.rle", RLE[:8], "truncated-mask duplicate-id"),
    ("brush.value.rle", [*RLE[:-1], 256], "truncated-mask"),
    ("brush.value.rle", [*RLE[:-1], -1], "truncated-mask"),
    ("brush.value.rle", [*RLE[:-1], 0.5], "truncated-mask"),
    ("brush.value.rle", [*RLE[:7], *[255] * 40], "truncated-mask"),
    ("brush.value.rle", "AAECAw==", "truncated-mask"),
    ("brush.value.rle", mask_to_brush_rle(MASK[::2, ::2]), "wrong-size"),
    ("brush.value.rle", [255, *RLE[1:]], "wrong-size"),
    ("brush.value.rle", mask_to_brush_rle(EMPTY), "no-area"),
    ("brush.value.rle", alpha_to_brush_rle(MASK.astype(np.uint8)), "faint-mask"),
    ("guess.value.rle", alpha_to_brush_rle(MASK.astype(np.uint8) * 127), "faint-mask"),
    ("brush.value", {"maskDataURL": URL[:-40], "brushlabels": ["cat"]}, "truncated-mask"),
    ("brush.value", {"points": SQUARE[:3], "brushlabels": ["cat"]}, "other-shape"),
    # bitmasks
    ("bitmask.value.imageDataURL", DELETE, "no-shape"),
    ("bitmask.value.imageDataURL", None, "truncated-mask"),
    ("bitmask.value.imageDataURL", "", "truncated-mask"),
    ("bitmask.value.imageDataURL", URL[:-40], "truncated-mask"),
    ("bitmask.value.imageDataURL", URL.partition(",")[2], "truncated-mask"),
    ("bitmask.value.imageDataURL", URL[:40] + "!" + URL[40:], "truncated-mask"),
    ("bitmask.value.imageDataURL", URL[:70] + ("A" if URL[70] != "A" else "B") + URL[71:], "truncated-mask"),
    ("bitmask.value.imageDataURL", JPEG, "truncated-mask"),
    ("bitmask.value.imageDataURL", JPEG.replace("jpeg", "png"), "truncated-mask"),
    ("bitmask.value.imageDataURL", png("RGBA", (0, 0, 0, 255), (HEIGHT, WIDTH)), "wrong-size"),
    ("bitmask.value.imageDataURL", png("L", 255), "opaque-mask"),
    ("bitmask.value.imageDataURL", png("RGB", (0, 0, 0)), "opaque-mask"),
    ("bitmask.value.imageDataURL", png("1", 0), "opaque-mask"),
    ("bitmask.value.imageDataURL", png("RGBA", (255, 255, 255, 0)), "no-area"),
    ("bitmask.value.imageDataURL", png("RGBA", (255, 255, 255, 1)), "faint-mask"),
    ("bitmask.value", {"rle": mask_to_brush_rle(OTHER), "bitmasklabels": ["cat"]}, "other-shape"),
    # polygons
    ("polygon.value.points", DELETE, "no-shape"),
    ("polygon.value.points", None, "no-shape"),
    ("polygon.value.points", [], "no-shape"),
    ("polygon.value.points", SQUARE[:2], "no-shape"),
    ("polygon.value.points.1", [5.0], "no-shape"),
    ("polygon.value.points.1", ["60", "ten"], "no-shape"),
    ("polygon.value.points.1", [60.0, 10.0, 1.0], "no-shape"),
    ("polygon.value.points.1", [NAN, 10.0], "no-shape"),
    ("polygon.value.points.1", {"x": 60, "y": 10}, "no-shape"),
    ("polygon.value.points.1", [300.0, 10.0], "outside-image"),
    ("polygon.value.points.0", [-30.0, 10.0], "outside-image"),
    ("polygon.value.points", [[x + 200, y] for x, y in SQUARE], "no-area"),
    ("polygon.value.points", [[10, 10], [50, 50], [90, 90]], "no-area"),
    ("polygon.value.points", [[10, 10]] * 4, "no-area"),
    ("polygon.value.closed", False, "open-polygon"),
    ("polygon.value.closed", "yes", "bad-field"),
    ("polygon.value.closed", 1, "bad-field"),
    ("polygon.value.points", [SQUARE[0], SQUARE[2], SQUARE[1], SQUARE[3]], "crossing-polygon"),
    ("polygon.value.points", [*SQUARE, *SQUARE], "crossing-polygon"),
    ("polygon.value.points", [[10, 10], [90, 80], [90, 10], [60, 90], [10, 90]], "crossing-polygon"),
    ("polygon.value", {**BOX, "polygonlabels": ["cat"]}, "other-shape"),
    # rectangles, ellipses, points
    ("box.value.x", DELETE, "no-shape"),
    ("box.value.height", DELETE, "other-shape"),
    ("box.value.width", "50", "no-shape"),
    ("box.value.y", NAN, "no-shape"),
    ("box.value.width", -10.0, "negative-side"),
    ("box.value.height", -10.0, "negative-side"),
    ("box.value.width", 0, "no-area"),
    ("box.value.height", 0.001, "no-area"),
    ("box.value.x", 200.0, "no-area"),
    ("box.value.x", -15.0, "outside-image"),
    ("box.value.height", 90.0, "outside-image"),
    ("box.value.rotation", "left", "no-shape"),
    ("box.value", {**ROUND, "rectanglelabels": ["cat"]}, "other-shape"),
    ("ellipse.value.radiusX", DELETE, "no-shape"),
    ("ellipse.value.x", None, "no-shape"),
    ("ellipse.value.radiusY", "10", "no-shape"),
    ("ellipse.value.radiusX", -20.0, "negative-side"),
    ("ellipse.value.radiusY", 0, "no-area"),
    ("ellipse.value.y", 250.0, "no-area"),
    ("ellipse.value.rotation", NAN, "no-shape"),
    ("point.value.x", DELETE, "no-shape"),
    ("point.value.y", "50", "no-shape"),
    ("point.value.width", None, "no-shape"),
    ("point.value.width", -0.5, "negative-side"),
    ("point.value.x", 150.0, "outside-image"),
    ("point.value.y", -20.0, "outside-image"),
    ("point.value", {**BOX, "keypointlabels": ["nose"]}, "other-shape"),
]
"""(path, value, kinds of the findings, with a space between)."""


def with_fault(path: str, value: Any) -> list[Any]:
    """Return a fresh copy of the valid file with a value put at a path; `DELETE` takes away what is there."""
    file = export()
    first, _, rest = path.partition(".")
    *outer, last = ".".join(part for part in (PLACES.get(first, first), rest) if part).split(".")
    place: Any = file
    for key in outer:
        place = place[int(key) if isinstance(place, list) else key]
    if value is DELETE:
        del place[last]
    else:
        kept = {k: v for k, v in value.items() if v is not DELETE} if isinstance(value, dict) else value
        place[int(last) if isinstance(place, list) else last] = kept
    return file

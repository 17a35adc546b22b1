"""What a region carries beside its shape and its labels, as results of Label Studio: crowds, answers and keypoints.

    iscrowd     a choice by region       <Choices name="iscrowd" perRegion="true"> with the choice "crowd"
    answers     choices, texts, ratings  any control by region; results with the id of the region
                and numbers
    notes       the text of a region     `meta` of its result: {"text": [...]}
    keypoints   points of KeyPointLabels whose `parentID` is the id of the region; a hidden point has the choice
                "hidden"

Label Studio groups results by their ids, so a detail needs no copy of the region's shape. The editor keeps `parentID`
and `meta` (Label Studio 1.23.2, Result.js `serialize`).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from converters.files.json_values import Json, JsonObject, finite_number
from converters.label_studio.label_config import Control, LabelConfig
from converters.records import Keypoint, Region

CROWD_CONTROL, CROWD = "iscrowd", "crowd"
HIDDEN_CONTROL, HIDDEN = "point-hidden", "hidden"
NOTE = "note"
"""The name among a region's answers of the text in the region's `meta`."""

POINTS_CONTROL = "keypoints-"
"""What the names of controls of keypoints begin with, where this package writes them."""

KEYPOINTS_OF = "keypointsOf"
"""The attribute of <KeyPointLabels> that names the category whose points it marks."""

_VALUE_KEYS = {
    "choices": "choices",
    "textarea": "text",
    "rating": "rating",
    "number": "number",
    "datetime": "datetime",
    "taxonomy": "taxonomy",
}
_LISTS = ("choices", "textarea")
_POINT_SIZE = 0.5  # percent of the image's width, as the editor draws a small point


# ---------------------------------------------------------------- out


def details_to_results(region: Region, result: Json, config: LabelConfig) -> list[JsonObject]:
    """Return a region's first result with its note, and the results of its other details that the config can hold.

    Args:
        region: the region.
        result: the result of the region's shape.
        config: the label config; what it has no control for is left out (`unheld_details` names it).
    """
    note = {"meta": {"text": list(region.answers[NOTE])}} if NOTE in region.answers else {}
    results = [{**result, **note}]
    answers = {**_own_answers(region), **({CROWD_CONTROL: (CROWD,)} if region.is_crowd else {})}
    for name, texts in answers.items():
        control = _answer_control(name, config)
        if control is not None:
            results.append(_with_value(result, control, _answer(control, texts)))
    for number, point in enumerate(region.keypoints, start=1):
        control = _point_control(region, point, config)
        if control is not None:
            results += _point_results(point, result, control, config, f"{result['id']}-point-{number}")
    return results


def unheld_details(region: Region, config: LabelConfig) -> Iterator[str]:
    """Yield the name of each detail of a region that the config has no control for."""
    if region.is_crowd and _answer_control(CROWD_CONTROL, config) is None:
        yield "iscrowd"
    held = _own_answers(region)
    for name in region.answers:
        if name != NOTE and (name not in held or _answer_control(name, config) is None):
            yield f"answer to {name!r:.60}"
    for point in region.keypoints:
        if _point_control(region, point, config) is None:
            yield "keypoint"


def _own_answers(region: Region) -> Mapping[str, tuple[str, ...]]:
    """Return the answers that are not called like the controls which this package reads by itself."""
    return {name: texts for name, texts in region.answers.items() if name not in (CROWD_CONTROL, HIDDEN_CONTROL)}


def _answer_control(name: str, config: LabelConfig) -> Control | None:
    able = (control for control in config.controls if control.name == name and control.kind in _VALUE_KEYS)
    return next(able, None)


def _point_control(region: Region, point: Keypoint, config: LabelConfig) -> Control | None:
    able = [control for control in config.of_kind("keypointlabels") if point.name in control.label_values]
    of_category = [control for control in able if control.attributes.get(KEYPOINTS_OF) in region.labels]
    return next(iter((*of_category, *able)), None)


def _with_value(result: Json, control: Control, value: JsonObject, **more: Any) -> JsonObject:
    """Return a result of another control on the same image."""
    kept = {key: item for key, item in result.items() if key not in ("score", "origin", "meta")}
    return {**kept, "from_name": control.name, "type": control.kind, "value": value, **more}


def _answer(control: Control, texts: Sequence[str]) -> JsonObject:
    key = _VALUE_KEYS[control.kind]
    if control.kind in _LISTS:
        return {key: list(texts)}
    if control.kind == "taxonomy":
        return {key: [text.split(" / ") for text in texts]}
    number = _number_of(texts[0]) if texts and control.kind != "datetime" else None
    return {key: number if number is not None else " ".join(texts)}


def _number_of(text: str) -> float | None:
    try:
        number = finite_number(float(text))
    except ValueError:
        return None
    return int(number) if number is not None and number.is_integer() else number


def _point_results(
    point: Keypoint, result: Json, control: Control, config: LabelConfig, point_id: str
) -> Iterator[JsonObject]:
    x, y = point.x * 100 / result["original_width"], point.y * 100 / result["original_height"]
    words = [label.result_name for label in control.labels if label.value == point.name]
    value = {"x": x, "y": y, "width": _POINT_SIZE, control.kind: words}
    yield _with_value(result, control, value, id=point_id, parentID=result["id"])
    hidden = _answer_control(HIDDEN_CONTROL, config)
    if point.is_hidden and hidden is not None:
        yield _with_value(result, hidden, {"choices": [HIDDEN]}, id=point_id)


# ---------------------------------------------------------------- back


def answers_of(results: Sequence[Json]) -> dict[str, tuple[str, ...]]:
    """Return the answers in the results of one region by the names of their controls, iscrowd among them."""
    found: dict[str, tuple[str, ...]] = {}
    for result in results:
        kind, value = str(result.get("type")), result.get("value")
        if kind in _VALUE_KEYS and isinstance(value, Mapping) and (texts := _texts(value.get(_VALUE_KEYS[kind]))):
            found[str(result.get("from_name"))] = texts
        meta = result.get("meta")
        if isinstance(meta, Mapping) and (notes := _texts(meta.get("text"))):
            found[NOTE] = notes
    return found


def answer_value(kind: str, answer: Any) -> JsonObject | None:
    """Return an answer as JSON_MIN gives it, as the value of a result; None if it is none of a control of this kind.

    JSON_MIN has "good" for one choice or text, {"choices": ["good", "sharp"]} for several, and the number of a rating.
    """
    key = _VALUE_KEYS.get(kind)
    if key is None or answer in (None, "", []):
        return None
    if isinstance(answer, Mapping):
        return {key: answer[key]} if key in answer else None
    return {key: answer if isinstance(answer, list) or kind not in _LISTS else [answer]}


def points_apart(regions: Iterable[list[Json]]) -> tuple[list[list[Json]], dict[str, list[list[Json]]]]:
    """Tell the keypoints of regions from all other regions, each given as its results.

    Returns:
        The other regions, and the keypoints by the id of the region that they belong to.
    """
    others: list[list[Json]] = []
    points: dict[str, list[list[Json]]] = {}
    for results in regions:
        parent = _parent_of_point(results)
        (others if parent is None else points.setdefault(parent, [])).append(results)
    return others, points


def _parent_of_point(results: Sequence[Json]) -> str | None:
    """Return the id of the region that a keypoint belongs to; None if the results are no keypoint of a region."""
    is_point = any(_point_value(result) is not None for result in results)
    parents = (result["parentID"] for result in results if isinstance(result.get("parentID"), str))
    return next(parents, None) if is_point else None


def keypoint(results: Sequence[Json], name: str, size_hw: tuple[int, int]) -> Keypoint:
    """Return the keypoint of a name that some results are, as `points_apart` returns them.

    Args:
        results: the results of the keypoint.
        name: its label.
        size_hw: height and width of the image in pixels.
    """
    x, y = next(found for result in results if (found := _point_value(result)) is not None)
    is_hidden = HIDDEN in answers_of(results).get(HIDDEN_CONTROL, ())
    return Keypoint(name, x * size_hw[1] / 100, y * size_hw[0] / 100, is_hidden)


def _point_value(result: Json) -> tuple[float, float] | None:
    """Return x and y in percent if a result is of a keypoint control."""
    value = result.get("value")
    if not str(result.get("type")).startswith("keypoint") or not isinstance(value, Mapping):
        return None
    x, y = finite_number(value.get("x")), finite_number(value.get("y"))
    return None if x is None or y is None else (x, y)


def _texts(value: Any) -> tuple[str, ...]:
    """Return an answer as texts: choices, lines of text, a number, or the paths of a taxonomy."""
    items = value if isinstance(value, list) else [value]
    paths = [" / ".join(map(str, item)) if isinstance(item, list) else item for item in items]
    return tuple(str(item) for item in paths if isinstance(item, (str, int, float)) and str(item))

"""Faults in the fields around a region: a field of another type than Label Studio stores is dropped or misread.

Tested in tests/converters/label_studio/test_fault_table.py.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from converters.files.json_values import Json, finite_number, whole_number
from converters.label_studio.findings import Fault

_DIRECTIONS = ("left", "right", "bi")
_TURNS = (0, 90, 180, 270)
_LEAVE_OUT = "Correct it, or leave the field out."


def item_field_faults(item: Json) -> Iterator[Fault]:
    """Yield the faults in the fields of an annotation or a prediction; its `id` and `result` are not looked at."""
    yield from _faults(item, _ITEM_FIELDS)


def result_field_faults(result: Json) -> Iterator[Fault]:
    """Yield the faults in the fields of a result; its names, type, score and value are not looked at."""
    yield from _faults(result, _RESULT_FIELDS)


def score_faults(holder: Json) -> Iterator[Fault]:
    """Yield the fault in the `score` of a prediction or of a result, if it has one."""
    score = holder.get("score")
    number = finite_number(score)
    if score is not None and (number is None or not 0 <= number <= 1):
        what = f"expected a score from 0 to 1, got {score!r:.40}"
        yield Fault("bad-score", what, "Divide percents by 100; leave out what is unknown.")


def relation_faults(relation: Json, ids: set[str], known_labels: tuple[str, ...]) -> Iterator[Fault]:
    """Yield the faults in a relation between two regions.

    Args:
        relation: a result of the type "relation".
        ids: the ids of the regions beside it.
        known_labels: the labels of relations in the label config.
    """
    for key in ("from_id", "to_id"):
        if str(relation.get(key)) not in ids:
            what = f"expected {key} of a relation to be the id of a region, got {relation.get(key)!r:.40}"
            yield Fault("missing-region", what, "The relation is dropped.")
    direction = relation.get("direction", "right")
    if direction not in _DIRECTIONS:
        what = f"expected the direction of a relation to be one of {_DIRECTIONS}, got {direction!r:.40}"
        yield Fault("bad-relation", what, "The page stops at it: name one, or leave it out.")
    labels = relation.get("labels")
    if labels is not None and not _is_text_list(labels):
        what = f"expected the labels of a relation as a list of texts, got {labels!r:.60}"
        yield Fault("bad-relation", what, "The page stops at it: write a list, or leave it out.")
        return
    for word in labels or []:
        if word not in known_labels:
            what = f"expected a label of <Relations>, {sorted(known_labels)!r:.200}, got {word!r:.60}"
            yield Fault("unknown-label", what, "It is not shown: correct the word, or add it to the config.")


def _faults(holder: Json, fields: Mapping[str, tuple[Callable[[Any], bool], str]]) -> Iterator[Fault]:
    for key, (is_right, expected) in fields.items():
        if holder.get(key) is not None and not is_right(holder[key]):
            yield Fault("bad-field", f"expected {key} to be {expected}, got {holder[key]!r:.60}", _LEAVE_OUT)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_text_list(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(word, str) for word in value)


def _is_seconds(value: Any) -> bool:
    number = finite_number(value)
    return number is not None and number >= 0


def _is_time(value: Any) -> bool:
    try:
        datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return False
    return True


def _is_object(value: Any) -> bool:
    return isinstance(value, Mapping)


def _is_id(value: Any) -> bool:
    return isinstance(value, str) or whole_number(value) is not None


_ITEM_FIELDS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "id": (_is_id, "a number or a text"),
    "unique_id": (lambda value: isinstance(value, str), "a text"),
    "was_cancelled": (_is_flag, "true or false"),
    "ground_truth": (_is_flag, "true or false"),
    "lead_time": (_is_seconds, "seconds, 0 or more"),
    "created_at": (_is_time, "a time such as 2026-01-31T12:00:00Z"),
    "updated_at": (_is_time, "a time such as 2026-01-31T12:00:00Z"),
    "parent_prediction": (lambda value: whole_number(value) is not None, "the number of a prediction"),
    "parent_annotation": (lambda value: whole_number(value) is not None, "the number of an annotation"),
    "completed_by": (lambda value: _is_id(value) or _is_object(value), "a person's number, address or object"),
}
_RESULT_FIELDS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "id": (_is_id, "a text"),
    "readonly": (_is_flag, "true or false"),
    "hidden": (_is_flag, "true or false"),
    "meta": (_is_object, "an object"),
    "parentID": (_is_id, "the id of a region"),
    "image_rotation": (lambda value: finite_number(value) in _TURNS, "0, 90, 180 or 270 degrees"),
}

"""The ids in an event of Label Studio. Nothing else of an event is kept, because anybody can send one.

An event may be megabytes long, for it carries the whole annotation with its brushes. Only its first `EVENT_BYTES` are
read. In what Label Studio 1.23.2 sends (`tests/contracts/requests/webhook_*.json`) the ids stand here:

    PROJECT_UPDATED, START_TRAINING          `project.id` is within the first 60 bytes
    ANNOTATION_CREATED, ANNOTATION_UPDATED   `annotation.id` is within the first 60 bytes, `project.id` and
                                             `annotation.parent_prediction` stand behind the regions
    ANNOTATIONS_DELETED, TASKS_DELETED       the ids of a list are in its order, `project.id` stands behind the list
    TASKS_CREATED                            each task's id stands before its data and its project's behind it,
                                             `project.id` behind the list

So PROJECT_UPDATED and START_TRAINING are always understood. Of a long annotation the id is kept; what stands behind its
regions is asked of Label Studio by that id. Of a long list the first ids are kept; where `project.id` is missing, there
may be more (`backend.serving.teaching.teacher`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from backend.errors import RequestError

EVENT_BYTES = 16 * 1024  # recorded events have 2 to 4 kB
MAX_DEPTH = 32  # a polygon of an annotation is at 7
MAX_IDS = 1000
ACTION_CHARACTERS = 64
MOST_ID = 2**63 - 1

# A string, whole or cut off at the end; or what opens, closes or divides objects and lists.
_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?P<end>"?)|[\[\]{},]', re.DOTALL)
_CLOSING = {"{": "}", "[": "]"}


def read_head(head: bytes) -> Any:
    """Return the JSON value that begins with these bytes, as far as they go.

    A value of `EVENT_BYTES` and more is taken as cut off: the last member that may be incomplete is left out, and what
    is open is closed.

    Raises:
        RequestError: the bytes are no beginning of JSON, or nested deeper than `MAX_DEPTH`.
    """
    is_cut = len(head) >= EVENT_BYTES
    text = head[:EVENT_BYTES].decode("utf-8", "replace")
    try:
        return json.loads(_mend(text, is_cut=is_cut))
    except ValueError as error:
        raise RequestError(f"The body is not JSON that can be read: {error}.") from None


def _mend(text: str, *, is_cut: bool) -> str:
    """Return the text; if it is cut, up to its last whole member, with what is open closed."""
    closing = ""  # of all that is open, the innermost first
    whole, closing_there = 0, ""
    for token in _TOKEN.finditer(text):
        sign = token[0]
        if sign in _CLOSING:
            closing = _CLOSING[sign] + closing
            if len(closing) > MAX_DEPTH:
                raise RequestError(f"The body's JSON is nested deeper than {MAX_DEPTH}.")
            whole, closing_there = token.end(), closing
        elif sign in ("]", "}"):
            closing = closing[1:]
            whole, closing_there = token.end(), closing
        elif sign == ",":
            whole, closing_there = token.start(), closing
    return text[:whole] + closing_there if is_cut and closing else text


def event_ids(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ids that an event names, such as `project`, `task`, `annotation` and `parent_prediction`.

    Of a list of tasks whose `project` was cut off, `project_of_tasks` is the project that its tasks name.
    """
    ids: dict[str, Any] = {key: number for key in ("project", "task", "annotation") if (number := _id(data.get(key)))}
    for key in ("tasks", "annotations"):
        parts = data.get(key)
        if isinstance(parts, list):
            ids[key] = [number for part in parts[:MAX_IDS] if (number := _id(part))]
    if "project" not in ids and (number := _project_of(data.get("tasks"))):
        ids["project_of_tasks"] = number
    annotation = data.get("annotation")
    if isinstance(annotation, Mapping) and (number := _number(annotation.get("parent_prediction"))):
        ids["parent_prediction"] = number
    return ids


def _project_of(tasks: object) -> int | None:
    """Return the project of the first task that names one; None if none does."""
    parts = tasks if isinstance(tasks, list) else []
    return next(
        (number for part in parts if isinstance(part, Mapping) and (number := _number(part.get("project")))), None
    )


def _id(part: object) -> int | None:
    return _number(part.get("id")) if isinstance(part, Mapping) else None


def _number(value: object) -> int | None:
    """Return an id, or None: ids of Label Studio are positive and have 63 bits."""
    return value if type(value) is int and 0 < value <= MOST_ID else None

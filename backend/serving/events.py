"""The ids in an event of Label Studio. Nothing else of an event is kept, because anybody can send one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MAX_IDS = 1000
ACTION_CHARACTERS = 64


def event_ids(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ids that an event names, such as `project`, `task`, `annotation` and `parent_prediction`."""
    ids: dict[str, Any] = {key: number for key in ("project", "task", "annotation") if (number := _id(data.get(key)))}
    for key in ("tasks", "annotations"):
        parts = data.get(key)
        if isinstance(parts, list):
            ids[key] = [number for part in parts[:MAX_IDS] if (number := _id(part))]
    annotation = data.get("annotation")
    if isinstance(annotation, Mapping) and isinstance(annotation.get("parent_prediction"), int):
        ids["parent_prediction"] = annotation["parent_prediction"]
    return ids


def _id(part: object) -> int | None:
    number = part.get("id") if isinstance(part, Mapping) else None
    return number if isinstance(number, int) else None

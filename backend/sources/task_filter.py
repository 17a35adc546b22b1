"""Filters of Label Studio's Data Manager: what the tasks must be like that a request is about.

    {"conjunction": "and",
     "items": [{"filter": "filter:tasks:id", "operator": "greater", "type": "Number", "value": 7}]}

Label Studio 1.23 joins all items by one word, "and" or "or", and each item may have one child, which holds besides it.
So a condition that is added to a filter with "or" becomes the child of every item.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from backend.errors import UsageError

Condition = Mapping[str, Any]
"""An item of a filter: filter, operator, type, value, and perhaps a child_filter."""

CONJUNCTIONS = ("and", "or")
CHILD = "child_filter"


@dataclass(frozen=True)
class TaskFilter:
    """Conditions on tasks.

    Attributes:
        conditions: each is one item of Label Studio's filter; without any, all tasks are meant.
        conjunction: "and" if a task must fulfil all of them, "or" if one is enough.
        ids: if not None, the tasks must besides have one of these ids.
    """

    conditions: tuple[Condition, ...] = ()
    conjunction: str = "and"
    ids: tuple[int, ...] | None = None

    def after(self, task_id: int) -> TaskFilter:
        """Return this filter for tasks with a larger id.

        Raises:
            UsageError: it is a filter with "or" and children, to which Label Studio can add nothing.
        """
        return self.besides(_condition("id", "greater", "Number", task_id))

    def besides(self, condition: Condition) -> TaskFilter:
        """Return a filter of which a task must fulfil this one and a condition.

        Raises:
            UsageError: as `after` raises it.
        """
        if self.conjunction == "and" or not self.conditions:
            return replace(self, conjunction="and", conditions=(*self.conditions, condition))
        if any(each.get(CHILD) for each in self.conditions):
            raise UsageError(
                'A filter that joins its conditions by "or" cannot be used if one of them has a condition of its own '
                'below it. Join them by "and", or name the tasks by their ids.'
            )
        return replace(self, conditions=tuple({**each, CHILD: dict(condition)} for each in self.conditions))

    def query(self) -> dict[str, Any]:
        """Return the filter as Label Studio's `query` parameter, ordered by the tasks' ids."""
        filters = {"conjunction": self.conjunction, "items": [dict(each) for each in self.conditions]}
        chosen = {} if self.ids is None else {"selectedItems": {"all": False, "included": list(self.ids)}}
        return {"filters": filters, "ordering": ["tasks:id"], **chosen}


ALL_TASKS = TaskFilter()


def with_ids(ids: Sequence[int]) -> TaskFilter:
    """Return a filter for the tasks of these ids."""
    return TaskFilter(ids=tuple(ids))


def within(low: int, high: int) -> TaskFilter:
    """Return a filter for tasks whose id lies between two ids, or is one of them."""
    return TaskFilter((_condition("id", "in", "Number", {"min": low, "max": high}),))


def annotated() -> TaskFilter:
    """Return a filter for tasks that somebody has annotated, those with skipped annotations alone left out."""
    return TaskFilter((_condition("total_annotations", "greater", "Number", 0),))


def page_query(project: int, size: int, query: Mapping[str, Any]) -> dict[str, str | int]:
    """Return the parameters by which GET /api/tasks answers the first tasks of a query, and changes nothing.

    Without `review`, Label Studio 1.23.2 asks the project's backend for predictions of all tasks of the page that have
    none, waits for them and stores them, if the project is set to retrieve predictions by itself.

    Args:
        project: the project's number.
        size: how many tasks at most.
        query: a filter and an order, as `TaskFilter.query` gives them.
    """
    page: dict[str, str | int] = {"project": project, "page": 1, "page_size": size, "query": json.dumps(query)}
    return page | {"resolve_uri": "false", "review": "true"}


def has_version(text: str) -> Condition:
    """Return the condition that a task has a prediction in whose model version a text occurs."""
    return _condition("predictions_model_versions", "contains", "List", [text])


def has_draft() -> Condition:
    """Return the condition that somebody, whoever it is, has begun to annotate a task and has not submitted it."""
    return _condition("draft_exists", "equal", "Boolean", True)


def to_filter(found: object) -> TaskFilter:
    """Return a filter that somebody wrote, or that a tab of the Data Manager has.

    Raises:
        UsageError: it has not the form of a filter.
    """
    if not found:
        return ALL_TASKS
    if not isinstance(found, Mapping) or found.get("conjunction", "and") not in CONJUNCTIONS:
        raise UsageError(f"{found!r:.200} is no filter of tasks. {FORM}")
    items = found.get("items")
    if not isinstance(items, list) or not all(_is_condition(each) for each in items):
        raise UsageError(f"{items!r:.200} are no conditions of a filter. {FORM}")
    return TaskFilter(tuple(items), found.get("conjunction", "and"))


FORM = (
    'Expected {"conjunction": "and", "items": [{"filter": "filter:tasks:id", "operator": "greater", "type": "Number", '
    '"value": 7}]}, as the tabs of the Data Manager have it in /api/dm/views.'
)


def _is_condition(found: object) -> bool:
    return isinstance(found, Mapping) and all(isinstance(found.get(key), str) for key in ("filter", "operator", "type"))


def _condition(column: str, operator: str, kind: str, value: object) -> Condition:
    return {"filter": f"filter:tasks:{column}", "operator": operator, "type": kind, "value": value}

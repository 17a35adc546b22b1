"""`--query`: which tasks of a project somebody means, by ids, by a tab of the Data Manager, or by a filter.

Tested by tests/backend/command/test_prelabel.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from backend.errors import LabelStudioRefusedError, LabelStudioSlowError, NoSuchProjectError, UsageError
from backend.sources.label_studio import LabelStudioClient
from backend.sources.stored_predictions import in_requests
from backend.sources.task_filter import TaskFilter, to_filter, with_ids, within
from backend.sources.task_pages import count_tasks

LONG_RANGE = 1000  # ids that are asked for as a range; shorter ones are asked for one by one, many at a time
MOST_DIGITS = 18

_IDS = re.compile(r"[\d\s,-]+", re.ASCII)
_PART = re.compile(r"(\d+)\s*(?:-\s*(\d+))?", re.ASCII)
_TAB = re.compile(r"(?:^|[?&])tab=(\d{1,18})(?:&|#|$)", re.ASCII)


def read_query(text: str, client: LabelStudioClient, project: int) -> tuple[TaskFilter, ...]:
    """Return the filters that mean the tasks of a text; together they mean no task twice.

    Args:
        text: "1,2,5-9", "tab=12" or an address that ends so, or a filter as JSON.
        client: Label Studio, which is asked for the tab, and whether it understands the filter.
        project: the number of the project.

    Raises:
        UsageError: the text has none of these forms, or Label Studio cannot use the filter.
        LabelStudioAPIError: Label Studio refused or did not answer.
    """
    if _IDS.fullmatch(text):
        return tuple(_ids(text))
    if tab := _TAB.search(text.strip()):
        only = _tab(int(tab[1]), client, project)
    elif text.lstrip().startswith("{"):
        only = _json(text)
    else:
        raise UsageError(
            f'--query {text!r:.200} means no tasks: expected ids such as "1,2,5-9", a tab of the Data Manager such as '
            '"tab=12" or its address, or a filter of Label Studio as JSON.'
        )
    _require_understood(only, client, project)
    return (only,)


def _ids(text: str) -> Iterator[TaskFilter]:
    singles: list[int] = []
    for low, high in _merged(text):
        if high - low < LONG_RANGE:
            singles += range(low, high + 1)
        else:
            yield within(low, high)
    for some in in_requests(singles):
        yield with_ids(some)


def _merged(text: str) -> list[tuple[int, int]]:
    """Return the ranges of ids in a text in their order, without overlaps.

    Raises:
        UsageError: a part of the text is no id and no range of ids.
    """
    ranges = []
    for part in filter(None, (each.strip() for each in text.split(","))):
        found = _PART.fullmatch(part)
        low, high = (int(found[1]), int(found[2] or found[1])) if found and len(part) <= 2 * MOST_DIGITS else (1, 0)
        if low > high or high >= 10**MOST_DIGITS:
            raise UsageError(f"--query: {part!r:.60} is no id of a task and no range of ids such as 5-9.")
        ranges.append((low, high))
    if not ranges:
        raise UsageError(f'--query {text!r:.60} names no task; expected ids such as "1,2,5-9".')
    merged = [min(ranges)]
    for low, high in sorted(ranges)[1:]:
        if low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    return merged


def _tab(number: int, client: LabelStudioClient, project: int) -> TaskFilter:
    try:
        tab = client.get(f"/api/dm/views/{number}/").body
    except NoSuchProjectError as error:
        raise UsageError(f"--query: Label Studio has no tab {number} that the user of the token may see.") from error
    if tab.get("project") != project:
        raise UsageError(f"--query: the tab {number} is of project {tab.get('project')!r:.60}, not of {project}.")
    data = tab.get("data")
    return to_filter(data.get("filters") if isinstance(data, dict) else None)


def _json(text: str) -> TaskFilter:
    try:
        return to_filter(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"--query {text!r:.200} is no JSON: {error}.") from error


def _require_understood(only: TaskFilter, client: LabelStudioClient, project: int) -> None:
    """Have Label Studio use a filter once: it fails on one that it does not understand, as it would if it were ill.

    Raises:
        UsageError: it fails on the filter alone.
    """
    try:
        count_tasks(client, project, only)
    except (LabelStudioSlowError, LabelStudioRefusedError) as error:
        count_tasks(client, project)  # if this fails too, the filter is not to blame
        raise UsageError(
            f"--query: Label Studio cannot use this filter ({error}) Look at the names of its columns and operators: "
            "make the filter in the Data Manager, and pass the address of its tab."
        ) from error

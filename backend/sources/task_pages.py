"""The tasks of a project, page by page, with their annotations and predictions or without.

    after id 0 ── GET /api/tasks: the tasks with a larger id ──> a page ── its last id ──> the next page

Each request asks for the tasks behind the last one. So a task that is added or deleted meanwhile moves no other task to
another page, where it would be missed or come twice. Pages grow while they are small and shrink where they are large or
slow: one task may hold a kilobyte or many megabytes of brush strokes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from backend.errors import LabelStudioAPIError, LabelStudioSlowError
from backend.sources.label_studio import LabelStudioClient
from backend.sources.task_filter import ALL_TASKS, TaskFilter, page_query

FIRST_PAGE_TASKS, MOST_TASKS = 10, 200
SMALL_PAGE_BYTES, LARGE_PAGE_BYTES = 2**21, 2**24
ANSWER_WITHIN_S = 180.0  # Label Studio makes the whole page before it sends the first byte
MOST_PAGE_BYTES = 2**28  # more at once is asked for in smaller pages; all of it is in memory

_PATH = "/api/tasks"
# The first letters of the results, which the Data Manager's table shows, and work that nobody has submitted yet.
_NOT_EXPORTED = ("annotations_results", "predictions_results", "drafts")


@dataclass(frozen=True)
class TaskPage:
    """Some tasks as the API gives them, and how many tasks come after them."""

    tasks: tuple[dict[str, Any], ...]
    left: int


@dataclass(frozen=True)
class Wanted:
    """Which tasks are read, and how much of them.

    Attributes:
        only: what the tasks must be like.
        after: the id after which the first task comes.
        whole: with annotations and predictions, which may be megabytes; a bare task has only their number.
    """

    only: TaskFilter = field(default=ALL_TASKS)
    after: int = 0
    whole: bool = True


EVERYTHING = Wanted()


def read_task_pages(client: LabelStudioClient, project_id: int, wanted: Wanted = EVERYTHING) -> Iterator[TaskPage]:
    """Yield tasks of a project in the order of their ids, annotated or not; all of them if nothing else is wanted.

    Addresses of images stay as they were imported: links that Label Studio signs would have expired soon.

    Raises:
        NoSuchProjectError: there is no such project, or none that the token's user may see.
        LabelStudioAPIError: Label Studio refused or did not answer, also where a single task was asked for.
    """
    last_id, most = wanted.after, MOST_TASKS
    size = FIRST_PAGE_TASKS if wanted.whole else MOST_TASKS
    while True:
        try:
            answer = client.get(
                _PATH,
                _query(project_id, wanted, last_id, size),
                answer_within_s=ANSWER_WITHIN_S,
                most_bytes=MOST_PAGE_BYTES,
            )
        except LabelStudioSlowError:
            if size == 1:
                raise
            size = most = max(1, size // 4)  # for good: a page that fails takes minutes
            continue
        tasks, left = _read_page(answer.body, last_id)
        if not tasks:
            return
        yield TaskPage(tuple(map(_exported, tasks)), left)
        if not left:
            return
        last_id = tasks[-1]["id"]
        size = min(most, _next_size(size, answer.size_bytes))


def count_tasks(client: LabelStudioClient, project_id: int, only: TaskFilter = ALL_TASKS) -> int:
    """Return how many tasks of a project a filter means.

    Raises:
        NoSuchProjectError: there is no such project, or none that the token's user may see.
        LabelStudioAPIError: Label Studio refused or did not answer.
    """
    answer = client.get(_PATH, _query(project_id, Wanted(only, whole=False), 0, 1))
    tasks, left = _read_page(answer.body, 0)
    return len(tasks) + left


def _query(project_id: int, wanted: Wanted, last_id: int, size: int) -> dict[str, str | int]:
    fields = "all" if wanted.whole else "task_only"
    return page_query(project_id, size, wanted.only.after(last_id).query()) | {"fields": fields}


def _read_page(body: dict[str, Any], last_id: int) -> tuple[list[dict[str, Any]], int]:
    """Return the tasks of an answer and the number of those behind them.

    Raises:
        LabelStudioAPIError: the answer holds no such page; tasks that come again would never end.
    """
    try:
        tasks, total = list(body["tasks"]), int(body["total"])
        ids = [int(task["id"]) for task in tasks]
    except (KeyError, TypeError, ValueError) as error:
        raise LabelStudioAPIError(f"{_PATH} did not answer with a page of tasks ({error!r}).") from error
    if ids != sorted(set(ids)) or (ids and ids[0] <= last_id):
        raise LabelStudioAPIError(
            f"{_PATH} was asked for the tasks after {last_id} in order, and answered with {ids[:5]}. This was written "
            "for Label Studio 1.23."
        )
    return tasks, max(0, total - len(tasks))


def _exported(task: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in task.items() if key not in _NOT_EXPORTED}


def _next_size(size: int, page_bytes: int) -> int:
    if page_bytes > LARGE_PAGE_BYTES:
        return max(1, size // 2)
    return size * 2 if page_bytes < SMALL_PAGE_BYTES else size

"""A task of a project, or a few, without their annotations and predictions: quick to ask for while a person waits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from backend.errors import LabelStudioAPIError, NoSuchTaskError
from backend.sources.label_studio import LabelStudioClient
from backend.sources.task_filter import ALL_TASKS, page_query

MOST_BYTES = 8 * 2**20  # data of a task may hold anything; a few of them are kilobytes
MOST_ID = 2**63 - 1  # what a database of Label Studio can hold

_PATH = "/api/tasks"


@dataclass(frozen=True)
class BareTask:
    """A task as far as a prediction needs it.

    Attributes:
        id: its number.
        data: what was imported, addresses of images among it.
        annotations: how many annotations it has.
    """

    id: int
    data: Mapping[str, Any]
    annotations: int = 0


@dataclass(frozen=True)
class FewTasks:
    """Some tasks of a project, in the order of their ids, and how many tasks come after them."""

    tasks: tuple[BareTask, ...]
    left: int


def tasks_after(
    client: LabelStudioClient, project: int, last_id: int, count: int, *, within_s: float | None = None
) -> FewTasks:
    """Return the tasks of a project with the next larger ids.

    Args:
        client: Label Studio.
        project: the project's number.
        last_id: the tasks behind this id; 0 for the first ones.
        count: how many tasks at most.
        within_s: the time for the answer (None: that of the client).

    Raises:
        NoSuchProjectError: there is no such project, or none that the token's user may see.
        LabelStudioAPIError: Label Studio refused or did not answer.
    """
    asked = page_query(project, count, ALL_TASKS.after(last_id).query())
    body = client.get(_PATH, asked, answer_within_s=within_s, most_bytes=MOST_BYTES).body
    try:
        tasks, total = tuple(map(_bare, body["tasks"])), int(body["total"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise LabelStudioAPIError(f"{_PATH} did not answer with tasks ({error!r:.200}).") from error
    return FewTasks(tasks[:count], max(0, total - len(tasks)))


def one_task(client: LabelStudioClient, project: int, number: int, *, within_s: float | None = None) -> BareTask:
    """Return a task of a project.

    Raises:
        NoSuchTaskError: the project has no such task.
        NoSuchProjectError: there is no such project, or none that the token's user may see.
        LabelStudioAPIError: Label Studio refused or did not answer.
    """
    if 0 < number <= MOST_ID:
        found = tasks_after(client, project, number - 1, 1, within_s=within_s).tasks
        if found and found[0].id == number:
            return found[0]
    raise NoSuchTaskError(
        f"Project {project} has no task {number}, or it was deleted. The number of a task is in its address in Label "
        "Studio, behind ?task=, and in the first column of the project's table."
    )


def _bare(task: Mapping[str, Any]) -> BareTask:
    data = task["data"]
    if not isinstance(data, Mapping):
        raise TypeError(f"a task's data are {type(data).__name__}")
    return BareTask(int(task["id"]), data, int(task.get("total_annotations") or 0))

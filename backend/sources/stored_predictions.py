"""The predictions that Label Studio has of a project's tasks: which there are, new ones, and old ones removed.

Label Studio 1.23.2 answers how many predictions it took, and not which: one that it does not take is left out without a
word, or the whole request is refused, depending on a switch of its own. It takes the same prediction twice if it is
sent twice. So whoever stores predictions looks afterwards what is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from backend.errors import LabelStudioAPIError
from backend.sources.label_studio import LabelStudioClient
from backend.sources.task_filter import has_draft, has_version, with_ids
from backend.sources.task_pages import Wanted, read_task_pages

IDS_A_REQUEST = 200  # they stand in the address, of which servers read 8 kB and more
STORE_WITHIN_S = 180.0  # Label Studio 1.23.2 counts the predictions of the whole project anew before it answers


@dataclass(frozen=True)
class StoredPrediction:
    """A prediction that Label Studio has.

    Attributes:
        id: its number in Label Studio.
        version: its model version; "" if it has none.
        is_used: whether somebody's annotation began with it. If it were deleted, the annotation would forget that.
        created: when Label Studio stored it, by its own clock.
    """

    id: int
    version: str
    is_used: bool
    created: datetime


@dataclass(frozen=True)
class StoredPredictions:
    """The predictions of one project's tasks. Threads may share it."""

    client: LabelStudioClient
    project: int

    def with_version(self, tasks: Sequence[int], text: str) -> set[int]:
        """Return which of some tasks have a prediction in whose model version a text occurs.

        Raises:
            LabelStudioAPIError: Label Studio refused or did not answer.
        """
        return {
            int(task["id"])
            for some in in_requests(tasks)
            for task in self._tasks(Wanted(with_ids(some).besides(has_version(text)), whole=False))
        }

    def with_draft(self, tasks: Sequence[int]) -> set[int]:
        """Return which of some tasks somebody has begun to annotate without submitting it.

        A draft says nothing of the prediction that it began with, so it may be any one of its task.

        Raises:
            LabelStudioAPIError: Label Studio refused or did not answer.
        """
        return {
            int(task["id"])
            for some in in_requests(tasks)
            for task in self._tasks(Wanted(with_ids(some).besides(has_draft()), whole=False))
        }

    def of(self, tasks: Sequence[int]) -> dict[int, tuple[StoredPrediction, ...]]:
        """Return the predictions of each of some tasks, oldest first. A task that is gone is left out.

        Raises:
            LabelStudioAPIError: Label Studio refused or did not answer, or not with tasks.
        """
        wanted = (Wanted(with_ids(some)) for some in in_requests(tasks))
        return {int(task["id"]): _predictions(task) for each in wanted for task in self._tasks(each)}

    def add(self, predictions: Sequence[Mapping[str, Any]]) -> int:
        """Store new predictions, each with its task, result, score and model_version; return how many were taken.

        Raises:
            LabelStudioRefusedError: Label Studio took none of them, because of one that it does not take.
            LabelStudioAPIError: Label Studio refused or did not answer. It may have taken them all the same.
        """
        path = f"/api/projects/{self.project}/import/predictions"
        answer = self.client.post(path, list(predictions), answer_within_s=STORE_WITHIN_S).body
        taken = answer.get("created")
        if not isinstance(taken, int):
            raise LabelStudioAPIError(
                f"Label Studio was given predictions at {path}, and did not answer how many it took: {answer!r:.200}. "
                "This was written for Label Studio 1.23."
            )
        return taken

    def remove(self, prediction: int) -> None:
        """Delete a prediction; do nothing if it is gone.

        Raises:
            LabelStudioAPIError: Label Studio refused or did not answer.
        """
        self.client.delete(f"/api/predictions/{prediction}/")

    def _tasks(self, wanted: Wanted) -> Iterator[Mapping[str, Any]]:
        for page in read_task_pages(self.client, self.project, wanted):
            yield from page.tasks


def in_requests(tasks: Sequence[int]) -> Iterable[Sequence[int]]:
    """Return the ids of tasks in parts that are short enough for one request each."""
    return (tasks[start : start + IDS_A_REQUEST] for start in range(0, len(tasks), IDS_A_REQUEST))


def _predictions(task: Mapping[str, Any]) -> tuple[StoredPrediction, ...]:
    """Return the predictions of a whole task, without what they predict.

    Raises:
        LabelStudioAPIError: the task has not the form in which Label Studio gives it.
    """
    try:
        used = {each.get("parent_prediction") for each in task["annotations"]}
        found = [
            StoredPrediction(
                int(each["id"]), str(each.get("model_version") or ""), each["id"] in used, _moment(each["created_at"])
            )
            for each in task["predictions"]
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise LabelStudioAPIError(
            f"Label Studio gave task {task.get('id')!r} without readable predictions and annotations ({error!r}). This "
            "was written for Label Studio 1.23."
        ) from error
    return tuple(sorted(found, key=lambda prediction: prediction.id))


def _moment(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)

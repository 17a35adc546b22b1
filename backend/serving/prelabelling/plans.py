"""What is to be done with each task of a project, by the predictions that Label Studio has of it.

Label Studio itself is the record of what is done. A task that has a prediction of the present model version needs none,
whoever stored it and when; so a run that was killed goes on where it was, and nothing else has to be remembered.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from backend.errors import LabelStudioAPIError
from backend.serving.model_version import is_own
from backend.sources.stored_predictions import StoredPrediction, StoredPredictions

ANY_AGE = datetime.max.replace(tzinfo=UTC)
"""The moment before which every prediction was replaced: none waits for its deletion."""

BareTask = Mapping[str, Any]

Why = Literal["missing", "outdated", "up to date", "never predicted", "annotated"]
"""What a task lacks, or why it needs nothing."""


@dataclass(frozen=True)
class Choice:
    """Which tasks somebody wants to be predicted, of those that lack a prediction of the present model version.

    Attributes:
        changed_only: only tasks that have a prediction of ours, which then is of another version.
        unannotated_only: only tasks that nobody has annotated.
    """

    changed_only: bool = False
    unannotated_only: bool = False


@dataclass(frozen=True)
class Replaced:
    """What becomes of those predictions of a task that a prediction of ours replaces, or is going to.

    Attributes:
        removed: the predictions of ours that are to be deleted, as soon as one of the present version is stored.
        waiting: how many were replaced so lately that somebody may have them open; a later run deletes them.
        kept: how many stay, because an annotation began with them.
        has_current: whether one of the present version is stored.
    """

    removed: tuple[int, ...] = ()
    waiting: int = 0
    kept: int = 0
    has_current: bool = False


NOTHING = Replaced()


@dataclass(frozen=True)
class Plan:
    """What is to be done with one task.

    Attributes:
        task: the task without its annotations and predictions.
        why: what it lacks, or why it needs no prediction.
        replaced: what becomes of its old predictions of ours.
    """

    task: BareTask
    why: Why
    replaced: Replaced = NOTHING

    @property
    def id(self) -> int:
        """The id of the task."""
        return int(self.task["id"])

    @property
    def predicts(self) -> bool:
        """Whether the task is to be predicted."""
        return self.why in ("missing", "outdated")


def plan_tasks(
    tasks: Sequence[BareTask], stored: StoredPredictions, version: str, choice: Choice, before: datetime = ANY_AGE
) -> Iterator[Plan]:
    """Yield what is to be done with each of some bare tasks, in their order.

    What was replaced at the moment `before` or earlier is to be deleted.

    Label Studio is asked about all of them at once, and for whole predictions only of those tasks that have others than
    one of the present version.

    Raises:
        LabelStudioAPIError: Label Studio refused or did not answer, or not with tasks.
    """
    counts = {_id(task): (_count(task, "total_predictions"), _count(task, "total_annotations")) for task in tasks}
    some = [number for number, (predictions, _) in counts.items() if predictions]
    current = stored.with_version(some, version)
    known = stored.of([number for number in some if number not in current or counts[number][0] > 1])
    for task in tasks:
        number = _id(task)
        if choice.unannotated_only and counts[number][1]:
            yield Plan(task, "annotated")
        elif number in current and number not in known:
            yield Plan(task, "up to date")
        else:
            yield _plan(task, known.get(number, ()), version, choice, before)


def find_replaced(stored: Sequence[StoredPrediction], version: str, before: datetime) -> Replaced:
    """Return what becomes of those predictions of one task that a prediction of a version replaces.

    A prediction was replaced when the next one of ours was stored. The newest one was replaced too if the present
    version is that of an older one, such as after a label config was changed back. Nobody knows when that was, so the
    newest one counts as replaced from its beginning.

    Args:
        stored: the predictions of the task, those of other people among them.
        version: the present version.
        before: what was replaced then or earlier is to be deleted.
    """
    own = [each for each in stored if is_own(each.version)]
    # Of several of this version one stays: that with which an annotation began, or else the oldest.
    current = sorted((each for each in own if each.version == version), key=lambda each: not each.is_used)
    others = [each for each in own if each.version != version] + current[1:]
    unused = [each for each in others if not each.is_used]
    removed = tuple(each.id for each in unused if _replaced_at(each, own, bool(current)) <= before)
    return Replaced(removed, len(unused) - len(removed), len(others) - len(unused), bool(current))


def _replaced_at(prediction: StoredPrediction, own: Sequence[StoredPrediction], has_current: bool) -> datetime:
    newer = (each.created for each in own if each.id > prediction.id)
    return min(newer, default=prediction.created if has_current else ANY_AGE)


def _plan(task: BareTask, stored: Sequence[StoredPrediction], version: str, choice: Choice, before: datetime) -> Plan:
    found = find_replaced(stored, version, before)
    if found.has_current:
        return Plan(task, "up to date", found)
    if any(is_own(each.version) for each in stored):
        return Plan(task, "outdated", found)
    return Plan(task, "never predicted" if choice.changed_only else "missing")


def _id(task: BareTask) -> int:
    return int(task["id"])


def _count(task: BareTask, name: str) -> int:
    found = task.get(name)
    if not isinstance(found, int):
        raise LabelStudioAPIError(
            f"Label Studio gave task {task['id']} with {name}={found!r:.80}, expected a number. This was written for "
            "Label Studio 1.23."
        )
    return found

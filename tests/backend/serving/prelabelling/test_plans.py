from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from backend.errors import LabelStudioAPIError
from backend.serving.prelabelling.plans import Choice, find_replaced, plan_tasks
from backend.settings import LabelStudioSettings
from backend.sources.label_studio import LabelStudioClient
from backend.sources.stored_predictions import StoredPrediction, StoredPredictions

NOW, OLD, ELSE = "ovdiff-1.0.0+aaaaaaaaaa", "ovdiff-0.9.0+bbbbbbbbbb", "yolo-7"


@dataclass(frozen=True)
class Given(StoredPredictions):
    """What is stored of task 1, and which tasks were looked at as a whole."""

    predictions: tuple[StoredPrediction, ...] = ()
    looked_at: list[int] | None = None

    def with_version(self, tasks: Sequence[int], text: str) -> set[int]:
        return {1} if 1 in tasks and any(text in each.version for each in self.predictions) else set()

    def of(self, tasks: Sequence[int]) -> dict[int, tuple[StoredPrediction, ...]]:
        if self.looked_at is not None:
            self.looked_at.extend(tasks)
        return dict.fromkeys(tasks, self.predictions)


def stored_at(number: int, version: str, used: bool = False, hour: int = 0) -> StoredPrediction:
    return StoredPrediction(number, version, used, datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=hour))


def given(*versions: str, used: Sequence[int] = (), looked_at: list[int] | None = None) -> Given:
    """Return predictions of these versions, with ids from 1."""
    found = (stored_at(number, version, number in used) for number, version in enumerate(versions, 1))
    client = LabelStudioClient(LabelStudioSettings())
    return Given(client, 1, tuple(found), looked_at)


def planned(stored: Given, choice: Choice | None = None, annotations: int = 0) -> tuple[str, tuple[int, ...], int]:
    task = {"id": 1, "total_predictions": len(stored.predictions), "total_annotations": annotations}
    (plan,) = plan_tasks([task], stored, NOW, choice or Choice())
    assert plan.predicts == (plan.why in ("missing", "outdated"))
    assert plan.replaced.waiting == 0
    return plan.why, plan.replaced.removed, plan.replaced.kept


@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        ((), ("missing", (), 0)),
        ((ELSE,), ("missing", (), 0)),
        ((NOW,), ("up to date", (), 0)),
        ((OLD,), ("outdated", (1,), 0)),
        ((OLD, ELSE, OLD), ("outdated", (1, 3), 0)),
        ((OLD, NOW), ("up to date", (1,), 0)),
        ((NOW, NOW, ELSE), ("up to date", (2,), 0)),
        (("", "ovdiff", f"{OLD}x"), ("missing", (), 0)),
        ((f"{OLD} (not read: prompt=, typo?)",), ("outdated", (1,), 0)),
    ],
)
def test_ours_are_replaced_and_others_left(versions: Sequence[str], expected: object) -> None:
    assert planned(given(*versions)) == expected


@pytest.mark.parametrize(
    ("versions", "used", "expected"),
    [
        ((OLD, OLD), [1], ("outdated", (2,), 1)),
        ((NOW, NOW), [2], ("up to date", (1,), 0)),
        ((NOW, NOW), [1, 2], ("up to date", (), 1)),
        ((ELSE, NOW), [1], ("up to date", (), 0)),
    ],
)
def test_what_an_annotation_began_with_stays(versions: Sequence[str], used: Sequence[int], expected: object) -> None:
    assert planned(given(*versions, used=used), annotations=1) == expected


@pytest.mark.parametrize(
    ("versions", "why"),
    [((), "never predicted"), ((ELSE,), "never predicted"), ((OLD,), "outdated"), ((NOW,), "up to date")],
)
def test_changed_only_takes_tasks_that_were_predicted(versions: Sequence[str], why: str) -> None:
    assert planned(given(*versions), Choice(changed_only=True))[0] == why


def test_unannotated_only_leaves_annotated_tasks_alone() -> None:
    choice = Choice(unannotated_only=True)
    assert planned(given(OLD), choice, annotations=1) == ("annotated", (), 0)
    assert planned(given(OLD), choice)[0] == "outdated"


def test_whole_predictions_are_read_only_where_there_is_more_than_the_present_one() -> None:
    looked_at: list[int] = []
    assert planned(given(NOW, looked_at=looked_at))[0] == "up to date"
    assert planned(given(looked_at=looked_at))[0] == "missing"
    assert looked_at == []
    planned(given(NOW, ELSE, looked_at=looked_at))
    assert looked_at == [1]


def test_a_task_without_counts_is_named() -> None:
    with pytest.raises(LabelStudioAPIError, match="task 1 with total_predictions=None, expected a number"):
        list(plan_tasks([{"id": 1}], given(), NOW, Choice()))


@pytest.mark.parametrize(
    ("stored", "removed", "waiting"),
    [
        ([(OLD, 0), (NOW, 9)], (1,), 0),
        ([(OLD, 0), (NOW, 10)], (1,), 0),
        ([(OLD, 0), (NOW, 11)], (), 1),  # replaced a moment ago, however old it is
        ([(OLD, 0), (f"{OLD[:-1]}c", 9), (NOW, 11)], (1,), 1),
        ([(OLD, 0), (f"{OLD[:-1]}c", 9)], (1,), 1),  # the second one is shown until a third one is there
        ([(OLD, 0)], (), 1),
        ([(NOW, 0), (OLD, 9)], (2,), 0),  # the label config was changed back
        ([(NOW, 0), (OLD, 11)], (), 1),
        ([(NOW, 0), (NOW, 11)], (), 1),
        ([(OLD, 0), (ELSE, 9), (NOW, 11)], (), 1),  # theirs replaces nothing of ours
    ],
)
def test_what_was_replaced_long_ago_is_deleted(
    stored: Sequence[tuple[str, int]], removed: tuple[int, ...], waiting: int
) -> None:
    predictions = [stored_at(number, version, hour=hour) for number, (version, hour) in enumerate(stored, 1)]
    before = datetime(2026, 1, 1, 10, tzinfo=UTC)
    found = find_replaced(predictions, NOW, before)
    assert (found.removed, found.waiting, found.kept) == (removed, waiting, 0)
    assert found.has_current == any(version == NOW for version, _ in stored)

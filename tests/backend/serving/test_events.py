import pytest

from backend.serving.events import MAX_IDS, event_ids


def test_ids_are_kept_and_nothing_else() -> None:
    event = {
        "action": "ANNOTATION_CREATED",
        "project": {"id": 1, "title": "secret", "token": "secret"},
        "task": {"id": 7, "data": {"image": "secret"}},
        "annotation": {"id": 3, "result": ["secret"], "parent_prediction": 9},
    }
    assert event_ids(event) == {"project": 1, "task": 7, "annotation": 3, "parent_prediction": 9}


def test_lists_of_tasks_and_annotations() -> None:
    assert event_ids({"annotations": [{"id": 1}, {"id": 2}], "tasks": [{"id": 5}]}) == {
        "annotations": [1, 2],
        "tasks": [5],
    }


@pytest.mark.parametrize("event", [{}, {"project": 5}, {"project": {"id": "1"}}, {"tasks": [None, 3, {"id": {}}]}])
def test_foreign_forms_are_left_out(event: dict[str, object]) -> None:
    assert all(not value for value in event_ids(event).values())


def test_long_lists_are_cut() -> None:
    assert len(event_ids({"tasks": [{"id": number + 1} for number in range(5000)]})["tasks"]) == MAX_IDS

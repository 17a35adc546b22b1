from pathlib import Path

import pytest

from backend.serving.store import Store
from backend.serving.teaching.notes import Notes, Refusal, Taught


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    return Notes(Store(tmp_path / "state.sqlite", event_rows=10))


def named(notes: Notes) -> list[tuple[str, int]]:
    return [(row.kind, row.number) for row in notes.to_read()]


def test_the_same_thing_is_noted_once_and_whole_projects_come_last(notes: Notes, tmp_path: Path) -> None:
    notes.add_projects([1])
    for _ in range(3):
        assert notes.add("annotation", [7, 8]) and notes.add("task", [7])
    assert named(notes) == [("annotation", 7), ("annotation", 8), ("task", 7), ("project", 1)]
    assert named(Notes(Store(tmp_path / "state.sqlite", event_rows=10))) == named(notes)  # after a restart


def test_an_event_that_comes_while_its_annotation_is_read_is_not_lost(notes: Notes) -> None:
    notes.add("annotation", [7])
    (reading,) = notes.to_read()
    notes.failed(reading)
    assert notes.to_read()[0].tries == 1
    notes.add("annotation", [7])
    notes.done(reading)
    (again,) = notes.to_read()
    assert (again.number, again.tries) == (7, 0)
    notes.done(again)
    assert notes.to_read() == []


def test_a_project_goes_on_where_it_was_and_once_more_if_somebody_asked_meanwhile(notes: Notes) -> None:
    notes.add_projects([1])
    (reading,) = notes.to_read()
    notes.reached(reading, 5)
    notes.add_projects([1])
    assert notes.to_read()[0].after == 5
    notes.done(reading)
    assert notes.to_read()[0].after == 0
    notes.done(reading)
    assert notes.to_read() == []


def test_there_is_a_bound_and_what_is_noted_needs_no_room(notes: Notes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.serving.teaching.notes.MOST_ROWS", 3)
    assert notes.add("annotation", [1, 2, 3])
    assert notes.add("annotation", [1, 2, 3]) and not notes.add("annotation", [3, 4]) and not notes.add("task", [1])
    assert named(notes) == [("annotation", 1), ("annotation", 2), ("annotation", 3)]


def test_what_was_taught_is_known_by_task_and_by_annotation(notes: Notes) -> None:
    notes.note("1.5", 3, "a.png", Taught(11, "10:00"))
    notes.note("1.5", 3, "b.png", Taught(11, "10:00", "too small"))
    notes.note("1.5", 4, "c.png", Taught(12, "10:01", "no label"))
    notes.note("2.5", 3, "a.png", Taught(21, "10:00"))
    assert notes.taught("1.5", 3, "b.png") == Taught(11, "10:00", "too small")
    assert notes.taught("1.5", 9, "b.png") is None
    assert notes.places("annotation", 11) == [("1.5", 3)]
    assert sorted(notes.places("task", 3)) == [("1.5", 3), ("2.5", 3)]
    assert notes.tasks("1.5") == [3, 4] and notes.tasks("1.5", after=3) == [4]
    assert notes.counts() == {"1.5": (1, 2), "2.5": (1, 0)}
    assert notes.refusals("1.5", 1) == [Refusal(4, 12, "no label")]
    notes.drop("1.5", 3, "a.png")
    assert notes.taught("1.5", 3, "a.png") is None and notes.tasks("1.5") == [3, 4]
    notes.drop("1.5", 3)
    assert notes.tasks("1.5") == [4] and notes.tasks("2.5") == [3]
    notes.store.forget("1.5")
    assert notes.tasks("1.5") == [] and notes.tasks("2.5") == [3]

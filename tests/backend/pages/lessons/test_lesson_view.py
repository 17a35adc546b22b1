"""What the page of lessons shows, without HTTP."""

from dataclasses import replace

import pytest

from backend.errors import NothingThereError, RequestError
from backend.pages.lessons import lesson_view
from backend.pages.lessons.lesson_view import LessonPages
from backend.presentation.lesson_facts import Filters
from ovdiff.bank.lessons import Lesson
from tests.fakes.learner import LearningEngine

ANY = Filters()


def test_lessons_of_a_project_are_listed_with_what_each_changed(engine: LearningEngine, lessons: list[Lesson]) -> None:
    found = LessonPages(engine.lessons).page(1, ANY, 1)
    assert [(row.card.source.task, row.card.source.person) for row in found.rows] == [("4", "ann"), ("7", "bob <b>")]
    assert (found.on, found.total, found.found, found.people) == (2, 2, 2, ("ann", "bob <b>"))
    right, wrong = (row.changed for row in found.rows)
    assert right is not None
    assert wrong is not None
    assert (right.right, right.corrections) == (1.0, ())
    (correction,) = wrong.corrections
    assert (correction.annotated, correction.predicted) == ("blue", "red")
    assert correction.share == pytest.approx(0.125)
    assert wrong.right == pytest.approx(0.875)


@pytest.mark.parametrize(
    ("filters", "tasks"),
    [(Filters(person="ANN"), ["4"]), (Filters(task="7"), ["7"]), (Filters("7", "ann"), []), (Filters(task="9"), [])],
)
def test_they_are_filtered_by_task_and_person(
    engine: LearningEngine, lessons: list[Lesson], filters: Filters, tasks: list[str]
) -> None:
    found = LessonPages(engine.lessons).page(1, filters, 1)
    assert [row.card.source.task for row in found.rows] == tasks
    assert found.total == 2, "the figures are of the whole project"


def test_a_page_beyond_the_last_is_the_last(
    engine: LearningEngine, lessons: list[Lesson], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lesson_view, "ROWS_A_PAGE", 1)
    pages = LessonPages(engine.lessons)
    assert [pages.page(1, ANY, number).rows[0].card.source.task for number in (0, 1, 2, 99)] == ["4", "4", "7", "7"]
    assert pages.page(1, ANY, 99).page == pages.page(1, ANY, 99).pages == 2


def test_what_a_lesson_changed_is_read_once(
    engine: LearningEngine, lessons: list[Lesson], monkeypatch: pytest.MonkeyPatch
) -> None:
    pages, store = LessonPages(engine.lessons), engine.lessons
    read: list[str] = []
    load = type(store).load
    monkeypatch.setattr(type(store), "load", lambda self, address: read.append(address) or load(self, address))
    for _ in range(3):
        pages.page(1, ANY, 1)
    assert len(read) == 2


def test_lessons_are_switched_and_removed(engine: LearningEngine, lessons: list[Lesson]) -> None:
    pages, (first, second, other) = LessonPages(engine.lessons), lessons
    assert pages.change(1, [second.address], ANY, "off") == 1
    assert [engine.lessons.card(each.address).on for each in lessons] == [True, False, True]
    assert pages.change(1, [], Filters(person="ann"), "off") == 1, "those of the project alone"
    assert [engine.lessons.card(each.address).on for each in lessons] == [False, False, True]
    assert pages.change(1, [first.address, second.address], ANY, "on") == 2
    assert pages.change(1, [first.address], ANY, "remove") == 1
    assert set(engine.lessons.addresses()) == {second.address, other.address}


@pytest.mark.parametrize("act", ["", "delete", "on off"])
def test_nothing_else_is_done_to_lessons(engine: LearningEngine, lessons: list[Lesson], act: str) -> None:
    with pytest.raises(RequestError, match="expected on, off or remove"):
        LessonPages(engine.lessons).change(1, [lessons[0].address], ANY, act)


def test_lessons_of_others_and_all_at_once_are_refused(engine: LearningEngine, lessons: list[Lesson]) -> None:
    pages = LessonPages(engine.lessons)
    for stranger in (lessons[2].address, "0" * 64, "../../state", ""):
        with pytest.raises(NothingThereError, match="Project 1 has no lesson"):
            pages.change(1, [lessons[0].address, stranger], ANY, "remove")
    with pytest.raises(RequestError, match="No lesson is named"):
        pages.change(1, [], ANY, "remove")
    assert len(engine.lessons.addresses()) == 3, "all or nothing"


def test_a_damaged_lesson_is_named_and_the_others_are_shown(engine: LearningEngine, lessons: list[Lesson]) -> None:
    path = engine.lessons.folder / f"{lessons[0].address}.safetensors"
    path.write_bytes(path.read_bytes()[:-7])
    found = LessonPages(engine.lessons).page(1, ANY, 1)
    assert [row.card.source.task for row in found.rows] == ["7"]
    assert len(found.damaged) == 1


def test_a_lesson_without_a_project_belongs_to_any(engine: LearningEngine, lessons: list[Lesson]) -> None:
    engine.lessons.remove(lessons[0].address)
    engine.lessons.save(replace(lessons[0], source=replace(lessons[0].source, project="")))
    assert len(LessonPages(engine.lessons).cards(1)) == len(LessonPages(engine.lessons).cards(2)) == 2

"""Looking at many tasks: what is passed over, what fails, when it ends."""

from typing import Any

import pytest

from backend.errors import LabelStudioSlowError
from backend.pages.searches import task_search
from backend.pages.searches.task_search import MOST_IN_A_ROW, TaskSearch
from backend.serving.service import Service
from tests.backend.pages.searches.conftest import AddTask
from tests.fakes.label_studio import FakeLabelStudio


def new(service: Service, *, only_open: bool = False, most: int = 200) -> TaskSearch:
    return TaskSearch(service.looking, service.looking.project(1), only_open=only_open, most=most)


def seen_by(search: TaskSearch, *, end_at: int = 0) -> list[int]:
    seen: list[int] = []

    def visit(task: Any, pixels: Any, vocabulary: Any) -> bool:
        assert pixels.shape == (48, 64, 3)
        assert vocabulary.names == ("<i>green", "blue", "red"), "the words of the project, in the order of the method"
        seen.append(task.id)
        if task.id == end_at:
            search.end()
        return task.id != 5

    search.run(visit)
    return seen


def test_all_tasks_are_looked_at_over_several_requests(
    service: Service, add_task: AddTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_search, "TASKS_A_REQUEST", 2)
    for number in range(1, 8):
        add_task(number)
    search = new(service)
    assert seen_by(search) == list(range(1, 8))
    assert (search.looked, search.passed, search.failed) == (6, 1, 0), "5 had nothing to look at"
    assert (search.tasks, search.seen, search.expected) == (7, 7, 7)
    assert search.trouble == ""


def test_annotated_tasks_are_passed_over_without_their_image(
    service: Service, add_task: AddTask, label_studio: FakeLabelStudio
) -> None:
    add_task(1, annotations=2)
    add_task(2)
    search = new(service, only_open=True)
    assert seen_by(search) == [2]
    assert (search.looked, search.passed) == (1, 1)
    assert "/data/upload/1/1.png" not in label_studio.paths()


def test_it_ends_after_so_many_tasks_and_when_somebody_ends_it(service: Service, add_task: AddTask) -> None:
    for number in range(10, 20):
        add_task(number)
    few = new(service, most=3)
    assert seen_by(few) == [10, 11, 12]
    assert few.expected == 3
    ended = new(service)
    assert seen_by(ended, end_at=13) == [10, 11, 12, 13]
    assert ended.is_ended


def test_a_task_that_fails_is_told_and_the_others_go_on(service: Service, add_task: AddTask) -> None:
    add_task(1)
    add_task(2, missing=True)
    add_task(3)
    search = new(service)
    assert seen_by(search) == [1, 3]
    assert search.failed == 1
    ((task, reason),) = search.failures
    assert task == 2
    assert "404" in reason


def test_if_everything_fails_it_ends_early_and_says_so(service: Service, add_task: AddTask) -> None:
    for number in range(1, 30):
        add_task(number, missing=True)
    search = new(service)
    assert seen_by(search) == []
    assert search.failed == MOST_IN_A_ROW
    assert "failed one after another" in search.trouble


def test_label_studio_that_fails_meanwhile_ends_it_with_what_was_found(
    service: Service, add_task: AddTask, label_studio: FakeLabelStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_search, "TASKS_A_REQUEST", 1)
    add_task(1)
    add_task(2)
    label_studio.task_faults = [None, 500]
    search = new(service)
    assert seen_by(search) == [1]
    assert "answered 500" in search.trouble
    label_studio.task_faults = [500]
    with pytest.raises(LabelStudioSlowError):
        seen_by(new(service))

import pytest

from backend.serving.predicting.pace import MEASURED_TASKS, MOST_PROJECTS, MOST_TASKS, Pace


def noted(*seconds: float) -> Pace:
    pace = Pace()
    for each in seconds:
        pace.note("p", None, each)
    return pace


@pytest.mark.parametrize(
    ("seconds", "expected_s"),
    [
        ((), 0.0),
        ((30.0,), 30.0),  # perhaps the models were loaded; until a second task is measured, nobody knows
        ((30.0, 2.0), 2.0),
        ((2.0, 3.0, 2.5), 2.5),
        ((3.0, 30.0, 4.0, 40.0), 30.0),  # two long ones are no accident
    ],
)
def test_the_longest_but_one_of_the_last_tasks_is_expected(seconds: tuple[float, ...], expected_s: float) -> None:
    assert noted(*seconds).expected_s("p", None) == expected_s


def test_long_ago_does_not_count() -> None:
    assert noted(50.0, 50.0, *[1.0] * MEASURED_TASKS).expected_s("p", None) == 1.0


def test_each_project_has_its_own_pace_and_a_new_one_that_of_the_last_measured() -> None:
    pace = noted(2.0, 2.0)
    pace.note("q", None, 9.0)
    assert [pace.expected_s(project, None) for project in ("p", "q", "new")] == [2.0, 9.0, 9.0]
    pace.note("p", None, 2.0)
    assert pace.expected_s("new", None) == 2.0


def test_the_number_of_projects_is_limited() -> None:
    pace = noted(5.0)
    for number in range(MOST_PROJECTS):
        pace.note(str(number), None, 1.0)
    assert pace.expected_s("p", None) == 1.0


def test_a_task_that_was_measured_is_expected_to_take_as_long_again() -> None:
    pace = noted(2.0, 2.0)
    pace.note("p", 7, 60.0)
    assert [pace.expected_s("p", task) for task in (7, 8, None)] == [60.0, 2.0, 2.0]
    assert pace.expected_s("q", 7) == 2.0
    assert [pace.last_s("p", task) for task in (7, 8, None)] == [60.0, 0.0, 0.0]
    pace.note("p", 7, 1.0)
    assert pace.expected_s("p", 7) == 1.0


def test_the_number_of_tasks_is_limited() -> None:
    pace = noted()
    for task in range(MOST_TASKS + 1):
        pace.note("p", task, 60.0 if task < 2 else 1.0)
    assert [pace.expected_s("p", task) for task in (0, 1)] == [1.0, 60.0]

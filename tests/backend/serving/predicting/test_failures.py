from itertools import count

from backend.serving.predicting.failures import Failures


def test_the_newest_failure_comes_first_and_each_task_once() -> None:
    times = count()
    failures = Failures(10, now=lambda: f"12:0{next(times)}")
    for task in (1, 2, 1):
        failures.add("p", task, f"reason of {task}")
    assert failures.newest_first() == [
        {"project": "p", "task": 1, "reason": "reason of 1", "at": "12:02"},
        {"project": "p", "task": 2, "reason": "reason of 2", "at": "12:01"},
    ]


def test_tasks_of_two_projects_are_two_tasks() -> None:
    failures = Failures(10)
    failures.add("p", 1, "a")
    failures.add("q", 1, "b")
    failures.clear("p", 1)
    assert [row["project"] for row in failures.newest_first()] == ["q"]


def test_beyond_the_limit_the_oldest_failures_are_forgotten() -> None:
    failures = Failures(2)
    for task in (1, 2, 1, 3):
        failures.add("p", task, "reason")
    assert [row["task"] for row in failures.newest_first()] == [3, 1]


def test_whether_a_task_failed() -> None:
    failures = Failures(2)
    failures.add("p", 1, "reason")
    assert [failures.has(*each) for each in (("p", 1), ("p", 2), ("q", 1))] == [True, False, False]


def test_a_task_that_has_an_answer_is_forgotten() -> None:
    failures = Failures(2)
    failures.clear("p", 1)
    failures.add("p", 1, "reason")
    failures.clear("p", 1)
    assert failures.newest_first() == []


def test_the_time_is_of_the_day_in_utc() -> None:
    failures = Failures(2)
    failures.add("p", None, "a task without an id")
    (row,) = failures.newest_first()
    assert row["task"] is None and str(row["at"]).endswith("+00:00")


def test_a_long_reason_is_kept_short() -> None:
    failures = Failures(1)
    failures.add("1.1", 7, "The task has no image. Its keys: " + "key " * 10_000)
    (failure,) = failures.newest_first()
    assert str(failure["reason"]).startswith("The task has no image. Its keys: key")
    assert len(str(failure["reason"])) <= 500

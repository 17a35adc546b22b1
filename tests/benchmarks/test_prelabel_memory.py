from benchmarks.prelabel_memory import measure, summary


def test_a_small_project_is_predicted_and_measured() -> None:
    found = measure(45)
    assert (found["predicted"], found["stored_twice"], found["tasks"]) == (45, 0, 45)
    assert found["highest_mib_afterwards"] > 20


def test_memory_that_grows_is_seen() -> None:
    found = summary([(0, 900.0), (5, 50.0), (10, 60.0), (50, 80.0), (100, 120.0)], 100)
    assert (found["highest_mib_in_the_first_tenth"], found["highest_mib_afterwards"]) == (60, 120)
    assert found["highest_mib_by_tasks_done"] == {4: 50, 10: 60, 50: 80, 100: 120}

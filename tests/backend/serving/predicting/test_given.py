from backend.serving.predicting.given import KEPT_S, STORING_S, GivenResults


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def test_of_two_requests_at_the_same_time_the_first_to_answer_has_the_result() -> None:
    clock = Clock()
    given = GivenResults(clock)
    assert given.claim("p", "v", [1, 2], since_s=990.0) == {}
    clock.now_s = 1001.0
    assert given.claim("p", "v", [2, 3], since_s=985.0) == {2: 1000.0}
    assert given.claim("p", "v", [3], since_s=985.0) == {3: 1001.0}


def test_a_request_that_came_while_label_studio_was_storing_has_none() -> None:
    clock = Clock()
    given = GivenResults(clock)
    given.claim("p", "v", [1], since_s=1000.0)
    clock.now_s = 1005.0
    assert given.claim("p", "v", [1], since_s=1000.0 + STORING_S - 0.1) == {1: 1000.0}
    assert given.claim("p", "v", [1], since_s=1000.0 + STORING_S) == {}


def test_another_project_version_or_task_is_another_result() -> None:
    given = GivenResults(Clock())
    given.claim("p", "v", [1], since_s=1000.0)
    assert given.claim("q", "v", [1], since_s=1000.0) == {}
    assert given.claim("p", "w", [1], since_s=1000.0) == {}
    assert given.claim("p", "v", [2], since_s=1000.0) == {}


def test_a_task_twice_in_one_request_is_this_requests() -> None:
    assert GivenResults(Clock()).claim("p", "v", [1, 1], since_s=1000.0) == {}


def test_what_was_given_long_ago_is_forgotten() -> None:
    clock = Clock()
    given = GivenResults(clock)
    given.claim("p", "v", [1], since_s=1000.0)
    clock.now_s += KEPT_S + 1
    given.claim("p", "v", [2], since_s=clock.now_s)
    assert given.claim("p", "v", [1], since_s=1000.0) == {}

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from backend.serving.predicting.answers import Answers
from backend.serving.predicting.given import STORING_S
from backend.serving.predicting.predictions import Answer, Kind, Predictor, Snapshot
from backend.serving.vocabulary import Labelling
from backend.settings import PredictionSettings
from tests.fakes.waiting import eventually

START_S = 1000.0
SNAPSHOT = Snapshot(Labelling(()), {}, {}, {}, "v1", START_S, START_S + 95.0)
LIMITS = PredictionSettings()


@dataclass
class Clock:
    now_s: float = START_S

    def __call__(self) -> float:
        return self.now_s


@dataclass(frozen=True)
class ScriptedPredictor(Predictor):
    """Answers each task as told, and lets the clock go on meanwhile."""

    segmentations: Any = None
    output: Any = None
    clock: Clock = field(default_factory=Clock)
    task_s: float = 0.0
    slow_s: dict[int, float] = field(default_factory=dict)
    kinds: dict[int, Kind] = field(default_factory=dict)
    began: list[int] = field(default_factory=list)
    during: Callable[[int], None] = lambda _: None

    def predict(self, task: Any, snapshot: Snapshot) -> Answer:
        self.began.append(task["id"])
        self.during(task["id"])
        self.clock.now_s += self.slow_s.get(task["id"], self.task_s)
        kind = self.kinds.get(task["id"], "answered")
        item = {"model_version": snapshot.version}
        return Answer(item | ({"result": []} if kind == "answered" else {"error": f"no {task['id']}"}), kind)

    def answer_click(self, task: Any, context: Any, snapshot: Snapshot) -> Answer:
        return self.predict(task, snapshot)


def tasks(count: int) -> list[dict[str, Any]]:
    return [{"id": number} for number in range(1, count + 1)]


def answers(predictor: ScriptedPredictor, **limits: Any) -> Answers:
    def sleep(seconds: float) -> None:
        predictor.clock.now_s += seconds

    return Answers(predictor, replace(LIMITS, **limits), clock_s=predictor.clock, sleep=sleep)


def snapshot_at(now_s: float, answer_within_s: float = 95.0) -> Snapshot:
    return replace(SNAPSHOT, asked_s=now_s, until_s=now_s + answer_within_s)


def ask(answers: Answers, clock: Clock, *numbers: int) -> list[dict[str, Any]]:
    """Ask for tasks at the clock's time."""
    return answers.predictions("7.1", [{"id": number} for number in numbers], snapshot_at(clock.now_s))


def test_a_request_is_one_line_of_the_log_that_says_what_was_asked_answered_and_left(
    caplog: pytest.LogCaptureFixture,
) -> None:
    predictor = ScriptedPredictor(task_s=2.0, kinds={2: "failed", 3: "not ready", 5: "failed"})
    with caplog.at_level(logging.INFO):
        answers(predictor).predictions("7.1", tasks(5), SNAPSHOT)
    lines = [record.message for record in caplog.records if record.levelno == logging.INFO]
    assert lines == ["Project 7.1: 5 tasks asked for, 2 answered, 3 left (2 failed, 1 not ready), in 10.0 s."]


def test_a_click_is_one_line_of_the_log_too(caplog: pytest.LogCaptureFixture) -> None:
    predictor = ScriptedPredictor(task_s=0.25)
    with caplog.at_level(logging.INFO):
        answers(predictor).clicks("7.1", tasks(1), {}, SNAPSHOT)
    assert caplog.messages == ["Project 7.1: 1 click asked for, 1 answered, 0 left, in 0.2 s."]


def test_a_failure_is_logged_with_its_project_and_task_and_remembered_until_the_task_has_an_answer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    predictor = ScriptedPredictor(kinds={1: "failed"})
    asked = answers(predictor)
    for kind in ("failed", "no time", "not ready"):
        predictor.kinds[1] = kind
        ask(asked, predictor.clock, 1)
        assert [row["reason"] for row in asked.failures.newest_first()] == ["no 1"]
    assert [r.message for r in caplog.records if r.levelname == "ERROR"] == ["Project 7.1, task 1: no 1"]
    predictor.kinds[1] = "answered"
    asked.clicks("7.1", tasks(1), {}, SNAPSHOT)
    assert asked.failures.newest_first() == []


def test_a_project_that_cannot_be_predicted_has_an_item_without_a_result_for_each_task(
    caplog: pytest.LogCaptureFixture,
) -> None:
    predictor = ScriptedPredictor()
    with caplog.at_level(logging.INFO):
        items = answers(predictor).refusals("7.1", tasks(2), "v0", "no <Image>", START_S)
    assert items == [{"model_version": "v0", "error": "no <Image>"}] * 2
    assert caplog.messages == [
        "Project 7.1: no <Image>",
        "Project 7.1: 2 tasks asked for, 0 answered, 2 left (2 not ready), in 0.0 s.",
    ]
    assert predictor.began == []


@pytest.mark.parametrize(
    ("task_s", "answered"),
    [
        (10.0, 9),  # the tenth would end after 100 s
        (9.5, 10),  # the tenth ends just in time
        (0.5, 190),
        (60.0, 1),
        (200.0, 1),  # the first task is begun whatever it takes: nothing is known
    ],
)
def test_no_task_is_begun_that_would_end_too_late_and_none_is_left_that_would_not(task_s: float, answered: int) -> None:
    predictor = ScriptedPredictor(task_s=task_s)
    items = answers(predictor).predictions("7.1", tasks(200), SNAPSHOT)
    assert predictor.began == list(range(1, answered + 1))
    assert ["result" in item for item in items] == [True] * answered + [False] * (200 - answered)
    assert items[-1] == {"model_version": "v1", "error": "No time was left in this request; ask again."}


def test_one_slow_task_does_not_end_the_request_early() -> None:
    predictor = ScriptedPredictor(task_s=1.0, slow_s={1: 40.0})
    answers(predictor).predictions("7.1", tasks(200), SNAPSHOT)
    assert len(predictor.began) == 1 + 55


def test_tasks_that_fail_take_time_too() -> None:
    predictor = ScriptedPredictor(task_s=20.0, kinds=dict.fromkeys(range(2, 20), "failed"))
    answers(predictor).predictions("7.1", tasks(20), SNAPSHOT)
    assert len(predictor.began) == 4


def test_tasks_that_failed_come_last_the_next_time_and_keep_nobody_from_an_answer() -> None:
    predictor = ScriptedPredictor(
        task_s=1.0, slow_s=dict.fromkeys((1, 2, 3, 4), 20.0), kinds=dict.fromkeys((1, 2, 3, 4), "failed")
    )
    asked = answers(predictor)
    ask(asked, predictor.clock, 1, 2, 3, 4)
    predictor.began.clear()
    items = ask(asked, predictor.clock, 1, 2, 3, 4, 5, 6)
    assert predictor.began == [5, 6, 1, 2, 3, 4]
    assert ["result" in item for item in items] == [False] * 4 + [True] * 2


def test_a_task_that_would_lose_the_answers_before_it_is_left_for_a_request_of_its_own() -> None:
    predictor = ScriptedPredictor(task_s=1.0, slow_s={50: 60.0})
    asked = answers(predictor)
    asked.predictions("7.1", tasks(60), SNAPSHOT)  # ends too late: nobody could know
    assert predictor.clock.now_s > SNAPSHOT.until_s
    began_s, predictor.clock.now_s = predictor.clock.now_s, predictor.clock.now_s + 100.0
    items = ask(asked, predictor.clock, *range(1, 61))
    assert [number for number, item in enumerate(items, start=1) if "result" not in item] == [50]
    assert predictor.clock.now_s - began_s - 100.0 == 59.0
    assert "result" in ask(asked, predictor.clock, 50)[0]


def test_a_single_task_is_not_begun_either_if_it_would_end_too_late() -> None:
    predictor = ScriptedPredictor(task_s=10.0)
    asked = answers(predictor)
    ask(asked, predictor.clock, 1)
    waited_long = snapshot_at(predictor.clock.now_s - 86.0)
    (item,) = asked.predictions("7.1", [{"id": 2}], waited_long)
    assert "result" not in item and predictor.began == [1]
    (item,) = asked.predictions("7.1", [{"id": 2}], snapshot_at(predictor.clock.now_s - 85.0))
    assert "result" in item


def test_a_task_that_takes_longer_than_any_request_comes_last_and_alone_is_tried() -> None:
    predictor = ScriptedPredictor(task_s=1.0, slow_s={1: 120.0})
    asked = answers(predictor)
    ask(asked, predictor.clock, 1)
    predictor.clock.now_s += 100.0
    predictor.began.clear()
    items = ask(asked, predictor.clock, 1, 2, 3)
    assert (predictor.began, ["result" in item for item in items]) == ([2, 3], [False, True, True])
    ask(asked, predictor.clock, 1)
    assert predictor.began == [2, 3, 1]


def test_tasks_that_are_not_ready_are_no_measure() -> None:
    predictor = ScriptedPredictor(task_s=0.0, kinds=dict.fromkeys((1, 2, 3), "not ready"), slow_s={4: 10.0, 5: 10.0})
    asked = answers(predictor)
    for number in range(1, 6):
        ask(asked, predictor.clock, number)
    assert asked._pace.expected_s("7.1", None) == 10.0


def test_a_task_whose_image_was_cut_off_at_the_end_of_the_time_did_not_fail() -> None:
    predictor = ScriptedPredictor(task_s=1.0, slow_s={3: 94.0}, kinds={2: "failed", 3: "failed"})
    asked = answers(predictor)
    items = asked.predictions("7.1", tasks(3), SNAPSHOT)
    assert [item.get("error", "") for item in items] == ["", "no 2", "No time was left in this request; ask again."]
    assert [row["task"] for row in asked.failures.newest_first()] == [2]


def test_the_second_of_two_requests_at_the_same_time_gives_no_result_and_answers_once_the_first_is_stored(
    caplog: pytest.LogCaptureFixture,
) -> None:
    predictor = ScriptedPredictor(task_s=0.5)
    asked = answers(predictor)
    first = asked.predictions("7.1", tasks(1), SNAPSHOT)
    given_s = predictor.clock.now_s
    with caplog.at_level(logging.INFO):
        second = asked.predictions("7.1", tasks(2), SNAPSHOT)
    assert "result" in first[0]
    assert second[0] == {"model_version": "v1", "error": "Another request was given this prediction a moment ago."}
    assert "result" in second[1]
    assert predictor.clock.now_s == given_s + STORING_S > given_s + 2 * predictor.task_s
    assert "2 tasks asked for, 1 answered, 1 left (1 given to another request)" in caplog.text


def test_a_result_that_was_given_is_given_again_to_who_asks_later() -> None:
    predictor = ScriptedPredictor()
    asked = answers(predictor)
    for _ in range(2):
        assert "result" in ask(asked, predictor.clock, 1)[0]
        predictor.clock.now_s += STORING_S


def test_tasks_without_an_id_and_clicks_are_given_each_time() -> None:
    predictor = ScriptedPredictor()
    asked = answers(predictor)
    for _ in range(2):
        assert "result" in asked.clicks("7.1", tasks(1), {}, SNAPSHOT)[0]
    assert "result" in ask(asked, predictor.clock, 1)[0]


def test_an_item_without_a_result_is_claimed_by_nobody() -> None:
    predictor = ScriptedPredictor(kinds={1: "failed"})
    asked = answers(predictor)
    asked.predictions("7.1", tasks(1), SNAPSHOT)
    predictor.kinds.clear()
    assert "result" in asked.predictions("7.1", tasks(1), SNAPSHOT)[0]


def test_a_request_for_one_task_passes_a_long_one_after_a_task() -> None:
    go_on, first_began = threading.Event(), threading.Event()

    def during(number: int) -> None:
        if number == 1:
            first_began.set()
            go_on.wait(60)

    predictor = ScriptedPredictor(during=during)
    asked = answers(predictor, prediction_slots=1)
    with ThreadPoolExecutor(2) as pool:
        retrieve = pool.submit(asked.predictions, "7.1", tasks(20), SNAPSHOT)
        assert first_began.wait(60)
        opened = pool.submit(asked.predictions, "8.1", [{"id": 77}], SNAPSHOT)
        assert eventually(lambda: len(asked._places._waiting) == 1)
        go_on.set()
        assert "result" in opened.result(60)[0]
        assert all("result" in item for item in retrieve.result(60))
    assert predictor.began.index(77) <= 2


def test_a_click_does_not_wait_behind_predictions() -> None:
    go_on, began = threading.Event(), threading.Event()

    def during(number: int) -> None:
        if number == 1:
            began.set()
            go_on.wait(60)

    predictor = ScriptedPredictor(during=during)
    asked = answers(predictor, prediction_slots=1)
    with ThreadPoolExecutor(2) as pool:
        retrieve = pool.submit(asked.predictions, "7.1", tasks(1), SNAPSHOT)
        try:
            assert began.wait(60)
            click = pool.submit(asked.clicks, "7.1", [{"id": 2}], {}, SNAPSHOT)
            assert "result" in click.result(5)[0]
            assert not retrieve.done()
        finally:
            go_on.set()


def test_fifty_people_who_open_a_task_at_once_are_all_answered() -> None:
    predictor = ScriptedPredictor(during=lambda _: time.sleep(0.005))
    asked = Answers(predictor, LIMITS)
    snapshot = snapshot_at(time.monotonic())
    with ThreadPoolExecutor(50) as pool:
        items = list(pool.map(lambda number: asked.predictions("7.1", [{"id": number}], snapshot), range(50)))
    assert all("result" in item for (item,) in items)


def test_who_waits_until_the_time_is_over_has_no_result_and_began_nothing() -> None:
    go_on, began = threading.Event(), threading.Event()

    def during(number: int) -> None:
        began.set()
        go_on.wait(60)

    predictor = ScriptedPredictor(during=during)
    asked = Answers(predictor, replace(LIMITS, prediction_slots=1))
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(asked.predictions, "7.1", [{"id": 1}], snapshot_at(time.monotonic(), 60.0))
        assert began.wait(60)
        late = asked.predictions("7.1", [{"id": 2}], snapshot_at(time.monotonic(), 0.2))
        go_on.set()
        assert "result" in first.result(60)[0]
    assert predictor.began == [1]
    assert late[0]["error"] == "No time was left in this request; ask again."

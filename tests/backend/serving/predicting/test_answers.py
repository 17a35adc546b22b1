import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from backend.serving.predicting.answers import Answers
from backend.serving.predicting.predictions import Answer, Kind, Predictor, Snapshot
from backend.serving.vocabulary import Labelling
from backend.settings import PredictionSettings

SNAPSHOT = Snapshot(Labelling(()), {}, {}, {}, "v1")
LIMITS = PredictionSettings(wait_for_prototypes_s=1.0, answer_within_s=95.0)


@dataclass
class Clock:
    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s


@dataclass(frozen=True)
class ScriptedPredictor(Predictor):
    """Answers each task as told, and lets the clock go on meanwhile."""

    engine: Any = None
    images: Any = None
    output: Any = None
    clock: Clock = field(default_factory=Clock)
    task_s: float = 0.0
    kinds: dict[int, Kind] = field(default_factory=dict)
    began: list[int] = field(default_factory=list)
    during: Callable[[int], None] = lambda _: None

    def predict(self, task: Any, snapshot: Snapshot) -> Answer:
        self.began.append(task["id"])
        self.during(task["id"])
        self.clock.now_s += self.task_s
        kind = self.kinds.get(task["id"], "answered")
        item = {"model_version": snapshot.version}
        return Answer(item | ({"result": []} if kind == "answered" else {"error": f"no {task['id']}"}), kind)

    def answer_click(self, task: Any, context: Any, snapshot: Snapshot) -> Answer:
        return self.predict(task, snapshot)


def tasks(count: int) -> list[dict[str, Any]]:
    return [{"id": number} for number in range(1, count + 1)]


def answers(predictor: ScriptedPredictor, **limits: Any) -> Answers:
    return Answers(predictor, replace(LIMITS, **limits), clock_s=predictor.clock)


def ask(predictor: ScriptedPredictor, count: int, **limits: Any) -> list[dict[str, Any]]:
    return answers(predictor, **limits).predictions("7.1", tasks(count), SNAPSHOT, started_s=predictor.clock.now_s)


def test_a_request_is_one_line_of_the_log_that_says_what_was_asked_answered_and_left(
    caplog: pytest.LogCaptureFixture,
) -> None:
    predictor = ScriptedPredictor(task_s=2.0, kinds={2: "failed", 3: "not ready", 5: "failed"})
    with caplog.at_level(logging.INFO):
        ask(predictor, 5)
    lines = [record.message for record in caplog.records if record.levelno == logging.INFO]
    assert lines == ["Project 7.1: 5 tasks asked for, 2 answered, 3 left (2 failed, 1 not ready), in 10.0 s."]


def test_a_click_is_one_line_of_the_log_too(caplog: pytest.LogCaptureFixture) -> None:
    predictor = ScriptedPredictor(task_s=0.25)
    with caplog.at_level(logging.INFO):
        answers(predictor).clicks("7.1", tasks(1), {}, SNAPSHOT, started_s=predictor.clock.now_s)
    assert caplog.messages == ["Project 7.1: 1 click asked for, 1 answered, 0 left, in 0.2 s."]


def test_a_failure_is_logged_with_its_project_and_task_and_remembered_until_the_task_has_an_answer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    predictor = ScriptedPredictor(kinds={1: "failed"})
    asked = answers(predictor)
    for kind in ("failed", "no time", "not ready"):
        predictor.kinds[1] = kind
        asked.predictions("7.1", tasks(1), SNAPSHOT, started_s=predictor.clock.now_s)
        assert [row["reason"] for row in asked.failures.newest_first()] == ["no 1"]
    assert [r.message for r in caplog.records if r.levelname == "ERROR"] == ["Project 7.1, task 1: no 1"]
    predictor.kinds[1] = "answered"
    asked.clicks("7.1", tasks(1), {}, SNAPSHOT, started_s=predictor.clock.now_s)
    assert asked.failures.newest_first() == []


def test_a_project_that_cannot_be_predicted_has_an_item_without_a_result_for_each_task(
    caplog: pytest.LogCaptureFixture,
) -> None:
    predictor = ScriptedPredictor()
    with caplog.at_level(logging.INFO):
        items = answers(predictor).refusals("7.1", tasks(2), "v0", "no <Image>", started_s=predictor.clock.now_s)
    assert items == [{"model_version": "v0", "error": "no <Image>"}] * 2
    assert caplog.messages == [
        "Project 7.1: no <Image>",
        "Project 7.1: 2 tasks asked for, 0 answered, 2 left (2 not ready), in 0.0 s.",
    ]
    assert predictor.began == []

"""The answer to one request for predictions: an item for each task, within the time that Label Studio waits.

Each request leaves one line in the log, because Label Studio's own message says "Retrieved 200 predictions" even if it
stored none.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

from backend.errors import ImageSourceError
from backend.serving.predicting.failures import Failures
from backend.serving.predicting.given import STORING_S, GivenResults
from backend.serving.predicting.pace import Pace
from backend.serving.predicting.places import Places
from backend.serving.predicting.predictions import Answer, Item, Kind, Predictor, Snapshot, Task, task_id, unanswered
from backend.serving.tally import Tally
from backend.settings import PredictionSettings

logger = logging.getLogger(__name__)

_OUTCOMES = tuple((what, kind) for what in ("task", "click") for kind in get_args(Kind))
_ERRORS = tuple(("error", error.__name__) for error in ImageSourceError.__subclasses__())
"""The errors that are known to make tasks fail; any other is counted from the first one on."""


class Answers:
    """Answers requests for predictions. Threads may share it."""

    def __init__(
        self,
        predictor: Predictor,
        settings: PredictionSettings,
        *,
        clock_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Remember the parts; `clock_s` is the clock of every time in this class."""
        self._predictor, self._clock_s, self._sleep = predictor, clock_s, sleep
        self._places = Places(settings.prediction_slots, clock_s)
        self._click_places = Places(settings.prediction_slots, clock_s)  # a person does not wait for a Retrieve
        self._pace = Pace()
        self._given = GivenResults(clock_s)
        self.failures = Failures(settings.failure_rows)
        self.tally = Tally(*_OUTCOMES, *_ERRORS)

    def predictions(self, project: str, tasks: Sequence[Task], snapshot: Snapshot) -> list[Item]:
        """Return one item for each task."""
        found: dict[int, Answer] = {}
        for index in sorted(range(len(tasks)), key=lambda index: self._is_hopeless(project, tasks[index], snapshot)):
            has_answers = any(answer.kind == "answered" for answer in found.values())
            found[index] = self._predict(project, tasks[index], snapshot, has_answers=has_answers)
        answers = [found[index] for index in range(len(tasks))]
        self._note_failures(project, tasks, answers)
        answers = self._without_given(project, tasks, answers, snapshot)
        self._log(project, answers, snapshot.asked_s)
        return [answer.item for answer in answers]

    def clicks(self, project: str, tasks: Sequence[Task], context: Mapping[str, Any], snapshot: Snapshot) -> list[Item]:
        """Return one item for each task, with the mask that somebody asked for by a click or a rectangle."""
        answers = [self._answer_click(task, context, snapshot) for task in tasks]
        self._note_failures(project, tasks, answers)
        self._log(project, answers, snapshot.asked_s, what="click")
        return [answer.item for answer in answers]

    def refusals(self, project: str, tasks: Sequence[Task], version: str, reason: str, asked_s: float) -> list[Item]:
        """Return one item for each task that says why no task of the project can be predicted."""
        logger.warning("Project %s: %s", project, reason)
        answers = [unanswered(version, "not ready", reason) for _ in tasks]
        self._log(project, answers, asked_s)
        return [answer.item for answer in answers]

    def _is_hopeless(self, project: str, task: Task, snapshot: Snapshot) -> bool:
        """Return whether a task failed or took too long the last time.

        Such tasks come last: nothing of them is stored, so Label Studio asks for them every time, and they would keep
        the others from being answered for ever.
        """
        number, whole_s = task_id(task), snapshot.until_s - snapshot.asked_s
        return self.failures.has(project, number) or self._pace.last_s(project, number) > whole_s

    def _predict(self, project: str, task: Task, snapshot: Snapshot, *, has_answers: bool) -> Answer:
        """Predict a task, unless by the measured pace its prediction would come too late.

        A task that takes longer than any request has is begun if the request has no answers to lose: its segmentation
        is remembered for the next time.
        """
        stored = self._predictor.stored(task, snapshot)
        if stored is not None:  # it waits for no place, because it needs no model
            return stored
        expected_s = self._pace.expected_s(project, task_id(task))
        if not has_answers and expected_s > snapshot.until_s - snapshot.asked_s:
            expected_s = 0.0
        latest_start_s = snapshot.until_s - expected_s
        with self._places.place(until_s=latest_start_s) as has_place:
            if not has_place:
                return _no_time(snapshot)
            started_s = self._clock_s()
            answer = self._predictor.predict(task, snapshot)
            ended_s = self._clock_s()
            if answer.kind != "not ready":
                self._pace.note(project, task_id(task), ended_s - started_s)
            if answer.kind == "failed" and ended_s >= snapshot.until_s:  # perhaps only its image was cut off
                return _no_time(snapshot)
            return answer

    def _answer_click(self, task: Task, context: Mapping[str, Any], snapshot: Snapshot) -> Answer:
        with self._click_places.place(until_s=snapshot.until_s) as has_place:
            if not has_place:
                item = {"result": [], "score": 0.0, "model_version": snapshot.version, "error": "No time was left."}
                return Answer(item, "no time")
            return self._predictor.answer_click(task, context, snapshot)

    def _without_given(
        self, project: str, tasks: Sequence[Task], answers: Sequence[Answer], snapshot: Snapshot
    ) -> list[Answer]:
        """Leave out the results that another request gave meanwhile, and wait until Label Studio has stored them.

        If this answer came first, the editor would show the task without the prediction.
        """
        ids = [
            task_id(task) if answer.kind == "answered" else None for task, answer in zip(tasks, answers, strict=True)
        ]
        numbers = [number for number in ids if number is not None]
        elsewhere = self._given.claim(project, snapshot.version, numbers, since_s=snapshot.asked_s)
        if not elsewhere:
            return list(answers)
        self._sleep(max(0.0, max(elsewhere.values()) + STORING_S - self._clock_s()))
        given = unanswered(
            snapshot.version, "given to another request", "Another request was given this prediction a moment ago."
        )
        return [given if number in elsewhere else answer for number, answer in zip(ids, answers, strict=True)]

    def _note_failures(self, project: str, tasks: Sequence[Task], answers: Sequence[Answer]) -> None:
        for task, answer in zip(tasks, answers, strict=True):
            if answer.kind == "failed":
                self.failures.add(project, task_id(task), answer.item["error"])
                logger.error("Project %s, task %r: %s", project, task_id(task), answer.item["error"])
            elif answer.kind == "answered":
                self.failures.clear(project, task_id(task))

    def _log(self, project: str, answers: Sequence[Answer], asked_s: float, what: str = "task") -> None:
        """Write the request's line into the log, and count what became of its tasks."""
        kinds = Counter(answer.kind for answer in answers)
        for kind, count in kinds.items():
            self.tally.add((what, kind), count)
        for answer in answers:
            if answer.kind == "failed" and answer.error:
                self.tally.add(("error", answer.error))
        answered = kinds.pop("answered", 0)
        hidden = sum("hidden" in answer.item for answer in answers)
        left = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
        logger.info(
            "Project %s: %d %s asked for, %d answered%s, %d left%s, in %.1f s.",
            project,
            len(answers),
            what if len(answers) == 1 else f"{what}s",
            answered,
            f" (regions hidden by limits in {hidden})" if hidden else "",
            len(answers) - answered,
            f" ({left})" if left else "",
            self._clock_s() - asked_s,
        )


def _no_time(snapshot: Snapshot) -> Answer:
    return unanswered(snapshot.version, "no time", "No time was left in this request; ask again.")

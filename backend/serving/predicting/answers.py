"""The answer to one request for predictions: an item for each task, within the time that Label Studio waits.

Each request leaves one line in the log, because Label Studio's own message says "Retrieved 200 predictions" even if it
stored none.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from backend.serving.predicting.failures import Failures
from backend.serving.predicting.predictions import Answer, Item, Predictor, Snapshot, Task, task_id, unanswered
from backend.settings import PredictionSettings

logger = logging.getLogger(__name__)


class Answers:
    """Answers requests for predictions. Threads may share it."""

    def __init__(
        self, predictor: Predictor, settings: PredictionSettings, *, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        """Remember the parts; `clock_s` is the clock of every time in this class."""
        self._predictor = predictor
        self._settings = settings
        self._clock_s = clock_s
        self.failures = Failures(settings.failure_rows)

    def predictions(self, project: str, tasks: Sequence[Task], snapshot: Snapshot, *, started_s: float) -> list[Item]:
        """Return one item for each task; `started_s` is the moment at which the request came."""
        answers = [self._predict(task, snapshot, started_s) for task in tasks]
        return self._told(project, tasks, answers, started_s)

    def clicks(
        self, project: str, tasks: Sequence[Task], context: Mapping[str, Any], snapshot: Snapshot, *, started_s: float
    ) -> list[Item]:
        """Return one item for each task, with the mask that somebody asked for by a click or a rectangle."""
        answers = [self._predictor.answer_click(task, context, snapshot) for task in tasks]
        return self._told(project, tasks, answers, started_s, what="click")

    def refusals(
        self, project: str, tasks: Sequence[Task], version: str, reason: str, *, started_s: float
    ) -> list[Item]:
        """Return one item for each task that says why no task of the project can be predicted."""
        logger.warning("Project %s: %s", project, reason)
        answers = [unanswered(version, "not ready", reason) for _ in tasks]
        return self._told(project, tasks, answers, started_s)

    def _predict(self, task: Task, snapshot: Snapshot, started_s: float) -> Answer:
        if self._clock_s() > started_s + self._settings.answer_within_s:
            return unanswered(snapshot.version, "no time", "No time was left in this request; ask again.")
        return self._predictor.predict(task, snapshot)

    def _told(
        self, project: str, tasks: Sequence[Task], answers: Sequence[Answer], started_s: float, what: str = "task"
    ) -> list[Item]:
        """Note the failures, write the request's line into the log, and return the items."""
        for task, answer in zip(tasks, answers, strict=True):
            if answer.kind == "failed":
                self.failures.add(project, task_id(task), answer.item["error"])
                logger.error("Project %s, task %r: %s", project, task_id(task), answer.item["error"])
            elif answer.kind == "answered":
                self.failures.clear(project, task_id(task))
        kinds = Counter(answer.kind for answer in answers)
        left = ", ".join(f"{count} {kind}" for kind, count in kinds.items() if kind != "answered")
        logger.info(
            "Project %s: %d %s%s asked for, %d answered, %d left%s, in %.1f s.",
            project,
            len(answers),
            what,
            "" if len(answers) == 1 else "s",
            kinds["answered"],
            len(answers) - kinds["answered"],
            f" ({left})" if left else "",
            self._clock_s() - started_s,
        )
        return [answer.item for answer in answers]

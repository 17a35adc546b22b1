"""How long a task takes, judged by the last tasks: what decides whether one more fits into the time of a request."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque

MEASURED_TASKS = 10
MOST_PROJECTS = 1000
MOST_TASKS = 10_000


class Pace:
    """The seconds that tasks took: the last ones of each project, and each task the last time. Threads may share it."""

    def __init__(self) -> None:
        """Know no project yet."""
        self._seconds: OrderedDict[str, deque[float]] = OrderedDict()
        self._own: OrderedDict[tuple[str, int], float] = OrderedDict()
        self._lock = threading.Lock()

    def note(self, project: str, task: int | None, seconds: float) -> None:
        """Note how long a task of a project took."""
        with self._lock:
            if task is not None:
                self._own[project, task] = seconds
                self._own.move_to_end((project, task))
                if len(self._own) > MOST_TASKS:
                    self._own.popitem(last=False)
            self._seconds.setdefault(project, deque(maxlen=MEASURED_TASKS)).append(seconds)
            self._seconds.move_to_end(project)
            if len(self._seconds) > MOST_PROJECTS:
                self._seconds.popitem(last=False)

    def last_s(self, project: str, task: int | None) -> float:
        """Return how long a task took the last time; 0 if it was never measured."""
        with self._lock:
            return 0.0 if task is None else self._own.get((project, task), 0.0)

    def expected_s(self, project: str, task: int | None) -> float:
        """Return how long a task of a project may take: as long as the last time that it was asked for.

        A task that was never measured is expected to take as long as the longest but one of the project's last tasks.
        The longest is left out, because the first task of all also loads the models. An unknown project is taken for
        the one that was measured last; before the first task the answer is 0.
        """
        with self._lock:
            if task is not None and (project, task) in self._own:
                return self._own[project, task]
            if not self._seconds:
                return 0.0
            seconds = self._seconds.get(project) or self._seconds[next(reversed(self._seconds))]
            return sorted(seconds)[-2:][0]

"""How long a task takes, judged by the last tasks: what decides whether one more fits into the time of a request."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque

MEASURED_TASKS = 10
MOST_PROJECTS = 1000


class Pace:
    """The seconds that the last tasks of each project took. Threads may share it."""

    def __init__(self) -> None:
        """Know no project yet."""
        self._seconds: OrderedDict[str, deque[float]] = OrderedDict()
        self._lock = threading.Lock()

    def note(self, project: str, seconds: float) -> None:
        """Note how long a task of a project took."""
        with self._lock:
            self._seconds.setdefault(project, deque(maxlen=MEASURED_TASKS)).append(seconds)
            self._seconds.move_to_end(project)
            if len(self._seconds) > MOST_PROJECTS:
                self._seconds.popitem(last=False)

    def expected_s(self, project: str) -> float:
        """Return how long the next task of a project may take: as long as the longest but one of its last tasks.

        The longest is left out, because the first task of all also loads the models. An unknown project is taken for
        the one that was measured last; before the first task the answer is 0.
        """
        with self._lock:
            if not self._seconds:
                return 0.0
            seconds = self._seconds.get(project) or self._seconds[next(reversed(self._seconds))]
            return sorted(seconds)[-2:][0]

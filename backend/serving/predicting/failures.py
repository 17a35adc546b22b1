"""The tasks whose last prediction failed, with the reason: Label Studio stores and shows nothing of a failure."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from textwrap import shorten

REASON_CHARACTERS = 500


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class Failure:
    """A task without a prediction: its project and id, the reason, and the time (ISO 8601, UTC) of the last try."""

    project: str
    task: int | None
    reason: str
    at: str


class Failures:
    """The tasks that failed last, each once. Threads may share it."""

    def __init__(self, most: int, *, now: Callable[[], str] = _now) -> None:
        """Keep at most `most` tasks; beyond that the tasks whose last try is longest ago are forgotten."""
        self._most, self._now = most, now
        self._failures: dict[tuple[str, int | None], Failure] = {}
        self._lock = threading.Lock()

    def add(self, project: str, task: int | None, reason: str) -> None:
        """Note that a task failed; what was noted of the task before is replaced."""
        with self._lock:
            self._failures.pop((project, task), None)
            short = shorten(reason, REASON_CHARACTERS, placeholder=" ...")  # a task may hold any number of keys
            self._failures[project, task] = Failure(project, task, short, self._now())
            while len(self._failures) > self._most:
                del self._failures[next(iter(self._failures))]

    def clear(self, project: str, task: int | None) -> None:
        """Forget the failure of a task, because the task has an answer now."""
        with self._lock:
            self._failures.pop((project, task), None)

    def has(self, project: str, task: int | None) -> bool:
        """Return whether the last try of a task failed."""
        with self._lock:
            return (project, task) in self._failures

    def tasks(self, project: str) -> list[int]:
        """Return the ids of a project's tasks that failed."""
        with self._lock:
            return [task for uid, task in self._failures if uid == project and task is not None]

    def newest_first(self) -> list[dict[str, object]]:
        """Return the failures as JSON objects, the newest first."""
        with self._lock:
            return [asdict(failure) for failure in reversed(self._failures.values())]

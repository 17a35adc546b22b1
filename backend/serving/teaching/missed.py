"""Annotations of which no event told: they were made while the service was down, or before the project learned.

Label Studio sends an event once, and whoever does not hear it hears it never. So after a start, after a project begins
to learn, and once a day, the annotated tasks of each learning project are listed, without their annotations: 200 tasks
a request, each with the moment of its last change. Only tasks that changed since they were looked at are read, and of
these only annotations that changed are learned. A task that was looked at and is not listed is read, too: its
annotations are gone.

A kill costs nothing: what was looked at is in the notes, and the list is asked for again after the next start.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backend.serving.events import MOST_ID
from backend.serving.projects import id_of
from backend.serving.teaching.learning_projects import LearningProjects
from backend.serving.teaching.notes import Notes
from backend.serving.teaching.tasks import LearningProject, changed_at
from backend.sources.task_filter import annotated, with_ids
from backend.sources.task_pages import Wanted

EVERY_S = 24 * 3600.0  # an event may also be lost while the service is up: Label Studio waits a second for its answer


@dataclass(frozen=True)
class Changed:
    """A task that changed since it was looked at.

    Attributes:
        project: its project, as Label Studio has it now.
        number: its id.
        task: the task with its annotations, as the API gives it; None if Label Studio does not have it any more.
        done: how many were looked at before it, of how many that are known so far.
        tasks: how many that are.
    """

    project: LearningProject
    number: int
    task: Mapping[str, Any] | None
    done: int
    tasks: int


class MissedAnnotations:
    """Finds the tasks of learning projects that changed without an event. For one thread."""

    def __init__(
        self, projects: LearningProjects, notes: Notes, *, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        """Have every learning project be looked at."""
        self._projects, self._notes, self._clock_s = projects, notes, clock_s
        self._not_before_s: dict[str, float] = {}

    def due(self) -> list[str]:
        """Return the projects that are to be looked at now; those that wait for prototypes are not among them."""
        learning, now_s = self._projects.learning(), self._clock_s()
        self._not_before_s = {uid: at_s for uid, at_s in self._not_before_s.items() if uid in learning}
        found = [uid for uid in learning if self._not_before_s.get(uid, -math.inf) <= now_s]
        waiting = self._projects.waiting() if found else {}
        return [uid for uid in found if uid not in waiting]

    def later(self, uid: str, seconds: float) -> None:
        """Look at a project again after so many seconds."""
        self._not_before_s[uid] = self._clock_s() + seconds

    def changed(self, uid: str) -> Iterator[Changed]:
        """Yield each task of a project that changed since it was looked at; what it says now is to be noted meanwhile.

        Raises:
            NotYetError: the project's annotations cannot be learned from now.
            LabelStudioAPIError: Label Studio refused or did not answer.
        """
        number, after, done = id_of(uid), 0, 0
        while number is not None and after < MOST_ID:
            project = self._projects.project(number)
            if project is None or project.uid != uid:
                return
            page = self._projects.page(number, Wanted(annotated(), after, whole=False))
            known = self._notes.looked(uid, after=after)
            there = {} if page is None else {int(task["id"]): changed_at(task) for task in page.tasks}
            after = max(there) if page is not None and page.left else MOST_ID
            found = [task for task, at in there.items() if known.get(task) != at]
            found += [task for task in known if task <= after and task not in there]
            for task_id, task in self._whole(number, sorted(found)):
                yield Changed(project, task_id, task, done, done + len(found))
                done, found = done + 1, found[1:]

    def _whole(self, project: int, ids: Sequence[int]) -> Iterator[tuple[int, dict[str, Any] | None]]:
        """Yield tasks with their annotations, by pages of bounded size; then those that Label Studio does not have."""
        missing, after = set(ids), 0
        while missing and (page := self._projects.page(project, Wanted(with_ids(ids), after))) is not None:
            for task in page.tasks:
                after = int(task["id"])
                missing.discard(after)
                yield after, task
            if not page.left:
                break
        for number in sorted(missing):
            yield number, None

"""Looks at the tasks of a project one after another, and says how far it is; a person can end it.

A page shows a search that goes on, and what it found when it has ended, also if it was ended early. So few tasks are
looked at that it ends in minutes; between two images others get the models.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from backend.errors import ImageSourceError, LabelStudioAPIError, RequestError
from backend.serving.looking import KnownProject, Looking
from backend.sources.few_tasks import BareTask
from ovdiff.errors import OVDiffError
from ovdiff.vocabulary import Vocabulary

logger = logging.getLogger(__name__)

MOST_TASKS = 200
"""Tasks that a search looks at: some minutes on a GPU, and enough to choose from."""
TASKS_A_REQUEST = 50
MOST_TOLD = 5
MOST_IN_A_ROW = 10
"""After so many failures one after another the rest would fail too, and the search ends."""

Visit = Callable[[BareTask, NDArray[np.uint8], Vocabulary], bool]
"""Looks at a task's image (H, W, 3) with the project's words; says whether there was anything to look at."""


class TaskSearch:
    """A search, and how far it is. One thread runs it, and others may ask."""

    def __init__(self, looking: Looking, project: KnownProject, *, only_open: bool, most: int = MOST_TASKS) -> None:
        """Look at nothing yet.

        Args:
            looking: where tasks and images come from.
            project: the project.
            only_open: whether annotated tasks are passed over.
            most: look at so many tasks at most.
        """
        self._looking, self.project, self._only_open, self.most = looking, project, only_open, most
        self._ended = threading.Event()
        self.looked = self.passed = self.failed = 0
        self.tasks: int | None = None
        """How many tasks the project has; None before Label Studio's first answer."""
        self.trouble = ""
        """Why it ended early; "" if it did not."""
        self.failures: deque[tuple[int, str]] = deque(maxlen=MOST_TOLD)
        """The last tasks that could not be looked at, with the reason."""

    @property
    def seen(self) -> int:
        """How many tasks are done with: looked at, passed over, or failed."""
        return self.looked + self.passed + self.failed

    @property
    def expected(self) -> int:
        """How many tasks it will have done with at its end, as far as it is known; at least 1."""
        most = self.most + self.passed + self.failed
        return max(1, most if self.tasks is None else min(self.tasks, most))

    @property
    def is_ended(self) -> bool:
        """Whether somebody ended it."""
        return self._ended.is_set()

    def end(self) -> None:
        """End it after the image that is being looked at."""
        self._ended.set()

    def run(self, visit: Visit) -> None:
        """Look at tasks until there are no more, enough were seen, or it is ended.

        Raises:
            LabelStudioAPIError: Label Studio did not answer its first question.
        """
        last_id, in_a_row = 0, 0
        while not self.is_ended:
            try:
                found = self._looking.tasks(self.project, last_id, TASKS_A_REQUEST)
            except LabelStudioAPIError as error:
                if self.tasks is None:
                    raise
                self.trouble = str(error)
                return
            self.tasks = self.seen + len(found.tasks) + found.left
            for task in found.tasks:
                if self.is_ended or self.looked >= self.most:
                    return
                last_id = task.id
                if self._only_open and task.annotations:
                    self.passed += 1
                    continue
                in_a_row = 0 if self._look(task, visit) else in_a_row + 1
                if in_a_row == MOST_IN_A_ROW:
                    self.trouble = f"{in_a_row} tasks failed one after another, so the others were not looked at."
                    return
            if not found.left or not found.tasks:
                return

    def _look(self, task: BareTask, visit: Visit) -> bool:
        """Look at one task, and say whether that was possible."""
        try:
            with self._looking.pixels(self.project, task) as (pixels, vocabulary):
                was_open = visit(task, pixels, vocabulary)
        except (ImageSourceError, RequestError, OVDiffError) as error:
            self.failed += 1
            self.failures.append((task.id, str(error)))
            logger.info("Project %s, task %s: %s", self.project.uid, task.id, error)
            return False
        self.looked += was_open
        self.passed += not was_open
        return True

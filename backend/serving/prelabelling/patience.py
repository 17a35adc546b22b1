"""How long a Label Studio that does not answer is asked again."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import TypeVar

from backend.errors import LabelStudioAPIError, LabelStudioDownError, LabelStudioSlowError
from backend.sources.label_studio import LabelStudioClient
from backend.sources.task_filter import ALL_TASKS, TaskFilter
from backend.sources.task_pages import TaskPage, Wanted, read_task_pages

logger = logging.getLogger(__name__)

Found = TypeVar("Found")

ASK_AGAIN_WITHIN_S = 120.0  # a restart of Label Studio takes 3 to 60 s
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 15.0

PASSING = (LabelStudioSlowError, LabelStudioDownError)
"""What may be over in a moment: nothing answers, it takes too long, or Label Studio failed (5xx)."""


class Patience:
    """Asks again, with growing pauses, until Label Studio answers or too much time has passed."""

    def __init__(
        self,
        within_s: float = ASK_AGAIN_WITHIN_S,
        *,
        stopping: threading.Event | None = None,
        clock_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        """Ask nothing yet.

        Args:
            within_s: the time from the first request that failed until the last one is sent.
            stopping: when it is set, nothing is asked again.
            clock_s: the present moment in seconds.
            sleep: waits so many seconds (None: until then, or until `stopping` is set).
        """
        self._within_s, self._clock_s = within_s, clock_s
        self._stopping = threading.Event() if stopping is None else stopping
        self._sleep = self._stopping.wait if sleep is None else sleep

    def wait(self, seconds: float) -> None:
        """Wait, or until all is to end."""
        self._sleep(seconds)

    def ask(self, request: Callable[[], Found]) -> Found:
        """Return what a request finds. It must be one that may be sent twice.

        Raises:
            LabelStudioAPIError: Label Studio refused; or it did not answer for `within_s`, as the message then says.
        """
        failed_s, pause_s = self._clock_s(), FIRST_PAUSE_S
        while True:
            try:
                return request()
            except PASSING as error:
                waited_s = self._clock_s() - failed_s
                if self._stopping.is_set():
                    raise
                if waited_s + pause_s > self._within_s:
                    raise LabelStudioAPIError(f"{error} It was asked again for {waited_s:.0f} s.") from error
                logger.warning("%s It is asked again in %g s.", error, pause_s)
                self._sleep(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


def bare_pages(
    patience: Patience, client: LabelStudioClient, project: int, only: TaskFilter = ALL_TASKS
) -> Iterator[TaskPage]:
    """Yield the bare tasks that a filter means, as `read_task_pages` does; a page that fails is asked for again.

    Raises:
        LabelStudioAPIError: Label Studio refused, or did not answer for long.
    """
    wanted: Wanted | None = Wanted(only, whole=False)
    while wanted is not None:
        page = patience.ask(partial(_first_page, client, project, wanted))
        if page is None:
            return
        yield page
        wanted = replace(wanted, after=page.tasks[-1]["id"]) if page.left else None


def _first_page(client: LabelStudioClient, project: int, wanted: Wanted) -> TaskPage | None:
    return next(read_task_pages(client, project, wanted), None)

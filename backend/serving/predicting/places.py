"""A queue for the few places at which tasks are computed."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Places:
    """A number of places; whoever has waited longest gets the next free one. Threads share it.

    A request takes a place anew for each of its tasks. So a request for 200 tasks lets a request for one task pass
    after a single task, and nobody is refused because of the length of the queue.
    """

    def __init__(self, count: int, clock_s: Callable[[], float]) -> None:
        """Start with `count` free places; `clock_s` is the clock of `until_s`."""
        self._free = count
        self._clock_s = clock_s
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def place(self, until_s: float) -> Iterator[bool]:
        """Wait for a place, and yield whether one came free before `until_s`; the block has it until it ends."""
        has_place = self._take(until_s)
        try:
            yield has_place
        finally:
            if has_place:
                with self._changed:
                    self._free += 1
                    self._changed.notify_all()

    def _take(self, until_s: float) -> bool:
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            try:
                left_s = until_s - self._clock_s()
                came_free = self._changed.wait_for(lambda: self._free > 0 and self._waiting[0] is ticket, left_s)
                has_place = came_free and self._clock_s() <= until_s
                self._free -= has_place
                return has_place
            finally:  # also after an interrupt, or the ticket would hold up every later thread
                self._waiting.remove(ticket)
                self._changed.notify_all()

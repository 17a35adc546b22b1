"""A lock that threads get in the order in which they asked for it."""

import threading
from collections import deque
from typing import Self


class FairLock:
    """A re-entrant lock with a queue.

    Python's own locks are not fair. A build that releases such a lock after each batch, and takes it again at once,
    nearly always gets it before a prediction that has been waiting.
    """

    def __init__(self) -> None:
        """Start unlocked."""
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()
        self._owner: int | None = None
        self._depth = 0

    def __enter__(self) -> Self:
        """Wait for the threads that asked for the lock earlier, and take it."""
        thread, ticket = threading.get_ident(), object()
        with self._changed:
            if self._owner != thread:
                self._waiting.append(ticket)
                try:
                    self._changed.wait_for(lambda: self._owner is None and self._waiting[0] is ticket)
                finally:  # After an interrupt too, or the ticket would hold up every later thread.
                    self._waiting.remove(ticket)
                    self._changed.notify_all()
                self._owner = thread
            self._depth += 1
        return self

    def __exit__(self, *_error: object) -> None:
        """Release the lock at the end of the thread's outermost ``with`` block."""
        with self._changed:
            self._depth -= 1
            if not self._depth:
                self._owner = None
                self._changed.notify_all()

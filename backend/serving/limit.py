"""How many requests of one kind are in the service at once, so that they do not take the threads of the others."""

from __future__ import annotations

import threading

from backend.errors import BusyError


class Limit:
    """A context that at most so many requests enter at once; further requests are turned away."""

    def __init__(self, most: int, what: str) -> None:
        """Let at most so many in; `what` they are is told to those that are turned away."""
        self._most, self._what = most, what
        self._lock = threading.Lock()
        self.in_use = 0
        """How many are inside."""

    def __enter__(self) -> None:
        """Enter.

        Raises:
            BusyError: too many are inside.
        """
        with self._lock:
            if self.in_use < self._most:
                self.in_use += 1
                return
        raise BusyError(
            f"{self._most} {self._what} are being answered or wait for their turn, and the other threads "
            "(OVDIFF_THREADS) are kept for the rest, such as /setup and events."
        )

    def __exit__(self, *_: object) -> None:
        """Leave."""
        with self._lock:
            self.in_use -= 1

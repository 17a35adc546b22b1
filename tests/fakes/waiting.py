"""Waiting for what another thread does."""

import time
from collections.abc import Callable

SLACK_S = 10.0
"""So long a busy machine may keep a test from going on: a limit in seconds is held with that much to spare, and what
the limit is to end would take longer."""


def eventually(condition: Callable[[], bool], timeout_s: float = 60.0) -> bool:
    """Return whether a condition becomes true in time; a busy machine needs a multiple of what an idle one does."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.005)
    return True

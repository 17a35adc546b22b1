"""Waiting for what another thread does."""

import time
from collections.abc import Callable

SLACK_S = 10.0
"""So long a busy machine may keep a test from going on: a limit in seconds is held with that much to spare, and what
the limit is to end would take longer."""

_SHORTEST_S, _LONGEST_S = 0.005, 0.25
_LOOKS_SHARE = 0.2  # a look may be a request to a server that shares two processors with the rest of the tests


def eventually(condition: Callable[[], bool], timeout_s: float = 60.0) -> bool:
    """Return whether a condition becomes true in time; a busy machine needs a multiple of what an idle one does.

    Looking takes a fifth of the time at most, unless one look takes long.
    """
    deadline_s = time.monotonic() + timeout_s
    while True:
        began_s = time.monotonic()
        if condition():
            return True
        ended_s = time.monotonic()
        if ended_s > deadline_s:
            return False
        pause_s = (ended_s - began_s) * (1 / _LOOKS_SHARE - 1)
        time.sleep(min(max(pause_s, _SHORTEST_S), _LONGEST_S))

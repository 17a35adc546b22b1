"""Which results were given to Label Studio moments ago, so that it stores each prediction once.

Label Studio stores every result that it is given. It asks for the same task twice whenever two requests begin before
the first prediction is stored: a deep link to a task does that, and so do two people, or a person who opens a task
while "Retrieve predictions" runs. Whichever request answers first gives the result; the other one leaves it out.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable

STORING_S = 1.5
"""How long Label Studio takes to store a result and to notice it: 0.14 s on a quiet machine, and another request that
looked before that comes after its /health and /setup."""

KEPT_S = 600.0  # longer than any request lasts


class GivenResults:
    """The results that were given, by project, model version and task. Threads may share it."""

    def __init__(self, clock_s: Callable[[], float]) -> None:
        """Know of none yet; `clock_s` is the clock of `since_s`."""
        self._clock_s = clock_s
        self._given_s: OrderedDict[tuple[str, str, int], float] = OrderedDict()
        self._lock = threading.Lock()

    def claim(self, project: str, version: str, tasks: Iterable[int], *, since_s: float) -> dict[int, float]:
        """Claim the results of these tasks for a request that came at `since_s`.

        Returns:
            The tasks whose result another request has, each with the moment at which it was given. The results of all
            other tasks now belong to this request.
        """
        now_s = self._clock_s()
        with self._lock:
            while self._given_s and next(iter(self._given_s.values())) < now_s - KEPT_S:
                self._given_s.popitem(last=False)
            elsewhere: dict[int, float] = {}
            for task in dict.fromkeys(tasks):
                given_s = self._given_s.get((project, version, task))
                if given_s is not None and given_s > since_s - STORING_S:
                    elsewhere[task] = given_s
                    continue
                self._given_s[project, version, task] = now_s
                self._given_s.move_to_end((project, version, task))
            return elsewhere

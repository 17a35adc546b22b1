"""Counts of what happened since the start of the process, for `/metrics`; whoever counts knows nothing of metrics."""

from __future__ import annotations

import threading
from collections import Counter

Key = tuple[str, ...]


class Tally:
    """Counts by a short tuple of words. Threads may share it."""

    def __init__(self, *begun: Key) -> None:
        """Count nothing yet. Keys that are ``begun`` are there with 0, so that Prometheus sees their first count."""
        self._lock = threading.Lock()
        self._counts: Counter[Key] = Counter(dict.fromkeys(begun, 0))

    def add(self, key: Key, count: int = 1) -> None:
        """Add to a count."""
        with self._lock:
            self._counts[key] += count

    def counts(self) -> dict[Key, int]:
        """Return all counts as they are now."""
        with self._lock:
            return dict(self._counts)

"""What the service counts and measures of itself, as `/metrics` shows it.

Tested by tests/backend/serving/http/test_metrics.py, from a real server.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from backend.serving.stores import StoreSize


@dataclass(frozen=True)
class BuildFigures:
    """Builds since the start of the process: those that ended well, those that failed, and the seconds of both."""

    built: int = 0
    failed: int = 0
    seconds: float = 0.0

    def with_build(self, went_well: bool, seconds: float) -> BuildFigures:
        """Return the figures with one build more."""
        return BuildFigures(self.built + went_well, self.failed + (not went_well), self.seconds + seconds)


@dataclass(frozen=True)
class Figures:
    """What the service counts and measures of itself; counts are of this process.

    Attributes:
        requests: how many requests of a kind are being answered or wait.
        answers: tasks by ("task" or "click", what became of it), and ("error", the kind of error).
        failed_tasks: how many tasks failed at their last try.
        segmentations: segmentations by where they came from: computed, or remembered.
        remembered_bytes: the bytes of those that are remembered.
        queue: how many categories wait for their turn to be built.
        builds: how many builds ended.
        stores: how large the stores on the disk are.
        projects: how many projects are known.
        is_ready: whether nothing is missing.
    """

    requests: Mapping[str, int]
    answers: Mapping[tuple[str, ...], int]
    failed_tasks: int
    segmentations: Mapping[tuple[str, ...], int]
    remembered_bytes: int
    queue: int
    builds: BuildFigures
    stores: tuple[StoreSize, ...]
    projects: int
    is_ready: bool

"""Builds that failed: whether every category would fail so, and when a build is tried again.

If a model cannot be loaded, the device is too small or the disk is full, all categories fail at once: they are not
tried one by one, because each try would wait half a minute for the hub or draw images in vain. Such a failure is tried
again after a while by itself. A category that failed by its own fault would fail again: it is tried again when it is
asked for.

Tested by tests/backend/serving/preparing/test_precompute.py.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass

from backend.serving.preparing.standing import Status
from ovdiff.errors import ClusterError, DeviceMemoryError, StorageError, WeightsError

logger = logging.getLogger(__name__)

_FAULTS_OF_ALL = (WeightsError, DeviceMemoryError, ClusterError, StorageError, OSError)


def is_of_all(error: Exception) -> bool:
    """Say whether an error would meet every category, and not only the one that is being built."""
    return isinstance(error, _FAULTS_OF_ALL) or isinstance(error.__cause__, OSError)


def unexpected(error: Exception) -> str:
    """Return the reason for people of what nobody foresaw: an engine may come from another package."""
    return f"unexpected {type(error).__name__}; the service's log has the details"


@dataclass(frozen=True)
class Failures:
    """Makes the status of what failed.

    Attributes:
        retry_after_s: the time until a failure is tried again, in seconds.
        clock_s: the present moment in seconds.
    """

    retry_after_s: float
    clock_s: Callable[[], float]

    def unaskable(self, reason: str) -> Status:
        """Return the failure of a category for which the bank cannot be asked. To ask again costs nothing."""
        alone_from_s = self.clock_s() + self.retry_after_s
        return Status("failed", reason=reason, asked_from_s=-math.inf, alone_from_s=alone_from_s)

    def of_build(self, reason: str, *, alone: bool = False) -> Status:
        """Return the failure of a build, which is tried again if a project asks, or ``alone`` though nobody does."""
        again_s = self.clock_s() + self.retry_after_s
        alone_from_s = again_s if alone else math.inf
        return Status("failed", reason=reason, asked_from_s=again_s, alone_from_s=alone_from_s)

    def log(self, whose: str, failure: Status) -> None:
        """Log a failure, whose it is, and when it is tried again."""
        when = "by itself" if failure.alone_from_s < math.inf else "when asked for"
        logger.error("%s failed: %s Tried again %s after %g s.", whose, failure.reason, when, self.retry_after_s)

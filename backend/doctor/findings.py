"""What a check finds, and how a check is run: within a time, and without a traceback whatever happens."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

from backend.errors import BackendError
from ovdiff.errors import OVDiffError
from ovdiff.extras import naming_the_extra

State = Literal["ok", "warning", "failed", "skipped"]

T = TypeVar("T")

CHECK_WITHIN_S = 60.0
"""The time of a check; torch, which the check of the device imports, takes ten seconds on a cold disk."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        name: what was looked at, such as "token" or "project 3: webhook".
        state: whether it is as it should be; "skipped" says nothing about it.
        found: what was seen, in a sentence.
        advice: what to do; "" where nothing is to be done.
    """

    name: str
    state: State
    found: str
    advice: str = ""


def attempt(name: str, look: Callable[[], T], within_s: float) -> T | Finding:
    """Return what a check returns; what it raises, and that it takes too long, becomes a finding that failed.

    The check runs on a thread of its own, which is left behind when the time is over: some waits, such as those for a
    disk or a GPU's driver, cannot be interrupted.
    """
    answer: queue.SimpleQueue[T | Finding] = queue.SimpleQueue()

    def guarded() -> None:
        answer.put(_guarded(name, look))

    threading.Thread(target=guarded, name=f"ovdiff-doctor {name}", daemon=True).start()
    try:
        return answer.get(timeout=within_s)
    except queue.Empty:
        return Finding(name, "failed", f"no answer within {within_s:g} s", "Look whether this machine is overloaded.")


def _guarded(name: str, look: Callable[[], T]) -> T | Finding:
    try:
        with naming_the_extra("ovdiff doctor"):
            return look()
    except (BackendError, OVDiffError) as error:
        return Finding(name, "failed", str(error))
    except OSError as error:
        return Finding(name, "failed", f"{type(error).__name__}: {error.strerror or 'no reason given'}")
    except Exception as error:  # what is looked at may be anything, and the message could hold a secret
        logger.debug("The check %r failed unexpectedly.", name, exc_info=True)
        advice = "This is a mistake in `ovdiff doctor`: please report it."
        return Finding(name, "failed", f"the check itself failed ({type(error).__name__})", advice)

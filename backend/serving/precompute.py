"""Prototypes made in the background: the worker compares what projects want with what the bank has.

There is no queue that could be lost. Each project states which categories it wants. One worker thread takes the next
category that the bank does not have, and has the engine build it. After a crash or a restart the same comparison finds
the missing categories again. A changed label config costs only its new categories.

If a model cannot be loaded or the device is too small, all categories fail at once: they are not tried one by one,
because each try would wait half a minute for the hub.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ovdiff.engines import Builder
from ovdiff.errors import DeviceMemoryError, OVDiffError, WeightsError
from ovdiff.vocabulary import Category

logger = logging.getLogger(__name__)

FAULTS_OF_ALL = (WeightsError, DeviceMemoryError)
"""Errors that would meet every category, and not only the one that is being built."""

State = Literal["queued", "building", "ready", "failed"]


@dataclass(frozen=True)
class Status:
    """How far the prototypes of one category are.

    Attributes:
        state: queued, building, ready or failed.
        stage: the step of the build that the engine is at, in the engine's words.
        progress: the fraction of the whole build that is done, 0 to 1.
        reason: why the build failed.
        retry_at_s: the moment, on the worker's clock, from which the build is tried again if a project still wants it.
        failed_before: whether the build failed the last time and is being tried again.
    """

    state: State
    stage: str = ""
    progress: float = 0.0
    reason: str = ""
    retry_at_s: float = math.inf
    failed_before: bool = False

    @property
    def is_settled(self) -> bool:
        """Whether nobody should wait for the category: it is ready, or its last build failed.

        A category that failed stays settled while it is tried again. Otherwise one hopeless category would hold up the
        predictions of its project at every new try.
        """
        return self.state in ("ready", "failed") or self.failed_before

    def __str__(self) -> str:
        """Return the status as a phrase, such as "building: generating, 40%"."""
        if self.state == "building":
            return f"building: {self.stage}, {self.progress:.0%}"
        return f"{self.state}: {self.reason}" if self.reason else self.state


@dataclass(frozen=True)
class Standing:
    """How far the prototypes of several categories are, at one moment.

    Attributes:
        ready: the categories that have prototypes, each with the key of its prototypes.
        pending: the categories that are queued or being built, each with its status as a phrase.
        failed: the categories whose last build failed, each with its status as a phrase. See `Status.is_settled`.
    """

    ready: dict[Category, str]
    pending: dict[Category, str]
    failed: dict[Category, str]


class _StoppedError(Exception):
    """The running build is given up because the service ends; the next start finds the missing prototypes again."""


class Precompute:
    """One worker thread that makes wanted prototypes, one category at a time. Threads may share it."""

    def __init__(
        self,
        builder: Builder,
        *,
        retry_failed_after_s: float,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Remember the builder. Building begins with `start`."""
        self._builder = builder
        self._retry_failed_after_s = retry_failed_after_s
        self._clock_s = clock_s
        self._changed = threading.Condition()
        self._wanted: dict[str, tuple[Category, ...]] = {}
        self._failed: dict[str, Status] = {}
        self._models_failed: Status | None = None
        self._building: tuple[str, Status] | None = None
        self._built: list[str] = []
        self._stopping = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the worker."""
        self._thread = threading.Thread(target=self._work, name="ovdiff-precompute", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Ask the worker to end after the batch it is at, and wait for it, at most `timeout_s`."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def want(self, project_uid: str, categories: Sequence[Category]) -> None:
        """Replace the categories that a project wants. The project that called last is served first."""
        with self._changed:
            self._wanted.pop(project_uid, None)
            self._wanted[project_uid] = tuple(categories)
            self._changed.notify_all()

    def status(self, category: Category) -> Status:
        """Return how far the prototypes of a category are."""
        with self._changed:
            return self._status(category)

    def ready(self, categories: Iterable[Category]) -> dict[Category, str]:
        """Return the categories whose prototypes exist, each with the key of its prototypes."""
        return self.standing(categories).ready

    def standing(self, categories: Iterable[Category]) -> Standing:
        """Return which categories are ready, which are still to be built, and which failed."""
        with self._changed:
            statuses = {category: self._status(category) for category in categories}
            return Standing(
                {c: self._builder.category_key(c) for c, status in statuses.items() if status.state == "ready"},
                {c: str(status) for c, status in statuses.items() if not status.is_settled},
                {c: str(status) for c, status in statuses.items() if status.is_settled and status.state != "ready"},
            )

    def wait(self, categories: Iterable[Category], timeout_s: float) -> None:
        """Wait until all of the categories are settled (see `Status.is_settled`), at most `timeout_s`."""
        waited_for = tuple(categories)
        with self._changed:
            self._changed.wait_for(lambda: self._is_settled(waited_for), timeout_s)

    @property
    def built(self) -> tuple[str, ...]:
        """The names of the categories that this process has built, in the order of building."""
        with self._changed:
            return tuple(self._built)

    def _is_settled(self, categories: Iterable[Category]) -> bool:
        return self._stopping or all(self._status(c).is_settled for c in categories)

    def _status(self, category: Category) -> Status:
        """Ask the bank each time: it notices sets that were removed or damaged, by their files' dates."""
        try:
            key = self._builder.category_key(category)
            if self._building is not None and self._building[0] == key:
                return replace(self._building[1], failed_before=key in self._failed or self._models_failed is not None)
            if self._builder.has(category):
                return Status("ready", progress=1.0)
        except (OVDiffError, OSError) as error:  # a model or the bank is not there or not readable
            return Status("failed", reason=str(error))
        except Exception as error:  # An engine may come from another package; the worker must outlive its mistakes.
            logger.exception("Asking for the category %r failed unexpectedly.", category.name)
            return Status("failed", reason=f"unexpected {type(error).__name__}; the service's log has the details")
        return self._failed.get(key) or self._models_failed or Status("queued")

    def _work(self) -> None:
        while True:
            with self._changed:
                category = self._next()
                while category is None and not self._stopping:
                    self._changed.wait()
                    category = self._next()
                if category is None or self._stopping:
                    return
                try:
                    key = self._builder.category_key(category)
                except Exception:  # such as models that vanish this very moment; the category's status will say it
                    logger.exception("Asking for the key of the category %r failed.", category.name)
                    continue
                self._building = (key, Status("building", stage="starting"))
            self._build(category, key)

    def _next(self) -> Category | None:
        """Return the next wanted category that the bank lacks and that did not fail recently."""
        for categories in reversed(self._wanted.values()):
            for category in categories:
                if self._is_due(category):
                    return category
        return None

    def _is_due(self, category: Category) -> bool:
        status = self._status(category)
        if status.state == "failed":
            return self._clock_s() >= status.retry_at_s
        return status.state == "queued"

    def _build(self, category: Category, key: str) -> None:
        """Build one category. Any error becomes the reason in its status, because the worker must go on."""
        started_s = self._clock_s()
        failure, of_all = "", False
        logger.info("Category %r: making its prototypes.", category.name)
        try:
            self._builder.build(category, self._report)
            if not self._builder.has(category):  # would be built again at once, and again
                failure = "it was built, but the bank does not have it; is the disk full or the folder shared?"
        except _StoppedError:
            return
        except OVDiffError as error:
            failure, of_all = str(error), isinstance(error, FAULTS_OF_ALL)
        except Exception as error:
            logger.exception("Building %r failed unexpectedly.", category.name)
            failure = f"unexpected {type(error).__name__}; the service's log has the details"
        with self._changed:
            self._building = None
            if failure:
                retry_at_s = self._clock_s() + self._retry_failed_after_s
                status = Status("failed", reason=failure, retry_at_s=retry_at_s)
                if of_all:
                    self._models_failed = status
                else:
                    self._failed[key], self._models_failed = status, None
                whose = "Every category" if of_all else f"Category {category.name!r}"
                again = f"Tried again when asked for after {self._retry_failed_after_s:g} s."
                logger.error("%s failed: %s %s", whose, failure, again)
            else:
                self._failed.pop(key, None)
                self._models_failed = None
                self._built.append(category.name)
                logger.info("Category %r is ready after %.1f s.", category.name, self._clock_s() - started_s)
            self._changed.notify_all()

    def _report(self, stage: str, fraction: float) -> None:
        """Note how far the build is. The engine calls this between batches, so a worker that is to stop ends here."""
        with self._changed:
            if self._stopping:
                raise _StoppedError
            if self._building is not None:
                key, status = self._building
                self._building = (key, replace(status, stage=stage, progress=min(1.0, max(0.0, fraction))))

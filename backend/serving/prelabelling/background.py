"""The service predicts whole projects by itself, where a setting says so: one at a time, and after everybody else.

A project's turn comes when each of its categories has prototypes or failed, and again when its model version changes,
or when Label Studio says that it has new tasks, and once a day: Label Studio says so once, and waits a second for an
answer. What is done is read from Label Studio, so a restart costs a look.
Tasks that failed are tried again without the others, after pauses that double.
Before each task it waits until no request for predictions and no click is in the service. What it has begun is
finished: one task, or on a device with the option ``together`` those that make full groups. Their images wait for room
in memory until nobody else waits for it.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol

from backend.errors import BackendError, LockedError, RequestError
from backend.serving.predicting.basis import Basis
from backend.serving.predicting.predictions import Snapshot
from backend.serving.predicting.together import Gathering
from backend.serving.prelabelling.ahead import FetchedAhead
from backend.serving.prelabelling.outcome import Outcome
from backend.serving.prelabelling.patience import Patience
from backend.serving.prelabelling.run import Listener, Orders, Run, Work, lock_project
from backend.serving.preparing.failures import unexpected
from backend.serving.preparing.standing import Standing
from backend.serving.projects import id_of
from backend.serving.vocabulary import Labelling, read_labelling
from backend.sources.images import ImageSource
from backend.sources.label_studio import LabelStudioClient
from backend.sources.stored_predictions import StoredPredictions, in_requests
from backend.sources.task_filter import ALL_TASKS, with_ids
from ovdiff.engines.segmenting import LoadsModels
from ovdiff.errors import OVDiffError
from ovdiff.vocabulary import Category

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 5.0  # for a project that is due; a look asks the bank for the categories of each project
PAUSE_S = 60.0  # between two runs over one project: anybody can send an event that says that tasks were added
YIELD_S = 0.05  # how soon it is noticed that nobody asks for anything any more
EVERY_S = 24 * 3600.0  # an event of new tasks may be lost, and a project may have no webhook
LONGEST_PAUSE_S = 6 * 3600.0  # between two tries of tasks that fail: an image may come back, or never


OFF: Mapping[str, Any] = {"on": False, "running": None, "last": {}}
"""What `Background.status` would return if there were none: it is there only if OVDIFF_PRELABEL says so."""


class Office(Protocol):
    """What the thread sees of the service."""

    def labellings(self) -> Mapping[str, Labelling]:
        """Return the content of the label config in force of each project, by its uid."""
        ...

    def standing(self, categories: Collection[Category]) -> Standing:
        """Return how far categories are."""
        ...

    def read_soon(self, project: str) -> None:
        """Have the label config of a project read from Label Studio."""
        ...

    def note_failure(self, project: str, task: int, reason: str | None) -> None:
        """Note why a task has no prediction; None says that it has one now."""
        ...

    def is_busy(self) -> bool:
        """Return whether somebody waits for a prediction or a click."""
        ...


@dataclass
class _Record:
    """What is known of one project.

    Attributes:
        done: the model version of the last run that went through all tasks; "" if there was none.
        is_asked_for: whether something happened since that a run should look at.
        not_before_s: the earliest moment of the next run.
        failed: the tasks that had no prediction after the last run, or failed in one that was ended since.
        failed_at_s: when a run over these tasks alone is due.
        failed_runs: how often they were tried again.
        tried: the model version under which they were tried.
        tidy_at_s: when a run is due because what was replaced is old enough to be deleted.
        look_at_s: when a run is due because an event may have been lost.
        last: what became of the last run, as /status tells it.
    """

    done: str = ""
    is_asked_for: bool = False
    not_before_s: float = -math.inf
    failed: frozenset[int] = frozenset()
    failed_at_s: float = math.inf
    failed_runs: int = 0
    tried: str = ""
    tidy_at_s: float = math.inf
    look_at_s: float = math.inf
    last: dict[str, Any] | None = None

    def note_failed(self, outcome: Outcome, now_s: float, retry_s: float, *, is_whole: bool) -> None:
        """Note which tasks failed, and when they are tried again; more tasks than an outcome keeps, with all others."""
        are_too_many = len(outcome.failed) < outcome.failures
        is_again = not is_whole or (are_too_many and self.tried == outcome.version)
        self.failed_runs = self.failed_runs + 1 if is_again else 0
        pause_s = min(retry_s * 2.0 ** min(self.failed_runs, 30), max(retry_s, LONGEST_PAUSE_S))
        self.failed, self.tried = frozenset(outcome.failed), outcome.version
        self.failed_at_s = now_s + pause_s if self.failed else math.inf
        if are_too_many:
            self.done, self.not_before_s, self.failed_at_s = "", now_s + pause_s, math.inf


class _NotReadyError(Exception):
    """What the predictions would be made of is not prepared yet."""


class _EndedError(Exception):
    """The service stops, or the project is not known any more."""


class Background:
    """The thread that predicts whole projects."""

    def __init__(
        self,
        basis: Basis,
        office: Office,
        label_studio: LabelStudioClient,
        images: ImageSource,
        *,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Do nothing yet.

        Args:
            basis: the engine and the settings.
            office: what is seen of the service.
            label_studio: where tasks are and predictions go.
            images: where images come from; no more pixels are in memory than it allows to all who share it.
            clock_s: the present moment in seconds.
        """
        self._basis, self._office, self._label_studio, self._images = basis, office, label_studio, images
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._records: dict[str, _Record] = {}
        self._running: tuple[str, Outcome] | None = None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to look for projects that are due."""
        self._thread = threading.Thread(target=self._work, name="ovdiff-background", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Begin no further task, and wait for the one that is at work, at most `timeout_s`."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def soon(self, project_id: int | None) -> None:
        """Have a known project looked at again, such as because tasks were added. This returns at once.

        None stands for all of them: an event need not say which one it is about.
        """
        with self._lock:
            for uid, record in self._records.items():
                record.is_asked_for |= project_id in (None, id_of(uid))

    def status(self) -> dict[str, Any]:
        """Return what is at work and what became of each project, as a JSON object."""
        with self._lock:
            running = self._running
            last = {uid: record.last for uid, record in self._records.items() if record.last is not None}
        now = None if running is None else {"project": running[0], **_counts(running[1])}
        return {"on": True, "running": now, "last": last}

    def _work(self) -> None:
        while not self._stopping.is_set():
            try:
                uid = self._due()
                if uid is not None:
                    self._predict(uid)
            except Exception:  # it is to live on, for the other projects
                logger.exception("Predicting a project failed unexpectedly.")
            self._stopping.wait(LOOK_EVERY_S)

    def _due(self) -> str | None:
        """Return the project whose last run is longest ago, of those that are due; None if none is.

        A project that cannot be looked at, such as because the bank's storage is away, keeps no other one waiting.
        """
        labellings, now_s = self._office.labellings(), self._clock_s()
        with self._lock:
            self._records = {uid: self._records.get(uid) or _Record() for uid in labellings}
            waiting = sorted(self._records.items(), key=lambda item: item[1].not_before_s)
        for uid, record in waiting:
            if now_s < record.not_before_s or id_of(uid) is None:
                continue
            try:
                if self._is_due(record, labellings[uid], now_s):
                    return uid
            except (BackendError, OVDiffError) as error:
                self._put_off(uid, record, str(error))
            except Exception as error:  # an engine may come from another package
                logger.exception("Looking at project %s failed unexpectedly.", uid)
                self._put_off(uid, record, unexpected(error))
        return None

    def _is_due(self, record: _Record, labelling: Labelling, now_s: float) -> bool:
        standing = self._office.standing(labelling.categories)
        if standing.pending or not standing.ready:
            return False
        if record.is_asked_for or now_s >= min(record.tidy_at_s, record.failed_at_s, record.look_at_s):
            return True
        return record.done != self._basis.version(labelling, standing.ready)

    def _put_off(self, uid: str, record: _Record, reason: str) -> None:
        """Look at a project again after a while, and say why."""
        logger.warning("Project %s cannot be looked at: %s", uid, reason)
        with self._lock:
            record.not_before_s = self._clock_s() + self._basis.settings.prediction.retry_failed_after_s
            record.last = {**(record.last or {}), "at": _now(), "ended": reason}

    def _predict(self, uid: str) -> None:
        """Predict a project: all tasks that lack a prediction, or those that failed, where nothing else is due."""
        record, run, ended, is_ready = self._records[uid], None, "", True
        with self._lock:
            all_at_s = min(record.tidy_at_s, record.look_at_s)
            is_whole = record.is_asked_for or self._clock_s() >= all_at_s or not record.failed
            record.is_asked_for = False
        try:
            lock = lock_project(self._basis.settings.data_dir, uid)
            try:
                work = self._make_work(uid)
                is_whole = is_whole or record.done != work.snapshot().version
                run = Run(work, self._orders(() if is_whole else record.failed))
                with self._lock:
                    self._running = uid, run.outcome
                run.count()
                run.run(Listener(turn=partial(self._wait_for_turn, uid), failed=partial(self._failed, uid)))
                ended = run.outcome.changed
            finally:
                lock.release()
        except LockedError as error:
            ended = f"Another run ({error}) predicts this project."
        except _NotReadyError as error:
            ended, is_ready = str(error), False
        except _EndedError:
            ended = "It was ended."
        except (BackendError, OVDiffError) as error:
            ended = str(error)
        except Exception as error:  # an engine may come from another package
            logger.exception("Predicting project %s failed unexpectedly.", uid)
            ended = unexpected(error)
        self._note(uid, record, None if run is None else run.outcome, ended, is_ready=is_ready, is_whole=is_whole)

    def _orders(self, failed: Collection[int]) -> Orders:
        """Return the orders of a run over some tasks, or over all if there are none."""
        after_s = self._basis.settings.prediction.delete_replaced_after_s
        only = tuple(with_ids(some) for some in in_requests(sorted(failed))) or (ALL_TASKS,)
        return Orders(delete_after_s=after_s, only=only, are_retried=bool(failed))

    def _note(
        self, uid: str, record: _Record, outcome: Outcome | None, ended: str, *, is_ready: bool, is_whole: bool
    ) -> None:
        """Note what became of a run, and when the next one may begin: soon, if it waited for nothing but us."""
        settings, now_s = self._basis.settings.prediction, self._clock_s()
        counts = {} if outcome is None else _counts(outcome)
        at_end = None if ended else outcome
        if at_end is not None:
            for task in record.failed.difference(at_end.failed):
                self._office.note_failure(uid, task, None)
            if at_end.failures:
                ended = f"{at_end.failures} tasks have no prediction; /status lists the reasons under failed_tasks."
        if ended:
            logger.warning("Project %s was not predicted to its end: %s", uid, ended)
        else:
            logger.info("Project %s is predicted: %s", uid, counts)
        with self._lock:
            self._running = None
            record.not_before_s = now_s + (settings.retry_failed_after_s if at_end is None and is_ready else PAUSE_S)
            if is_whole:
                record.done = "" if at_end is None else at_end.version
                record.tidy_at_s, record.look_at_s = math.inf, now_s + EVERY_S
            if outcome is not None and outcome.waiting:
                after_s = max(settings.delete_replaced_after_s, settings.retry_failed_after_s)
                record.tidy_at_s = min(record.tidy_at_s, now_s + after_s)
            if at_end is not None:
                record.note_failed(at_end, now_s, settings.retry_failed_after_s, is_whole=is_whole)
            elif not is_whole:
                record.failed_at_s = record.not_before_s
            if at_end is None and outcome is not None:  # a later run tells when these have a prediction
                record.failed = record.failed.union(outcome.failed)
            counts = counts if is_whole else _with_again(record.last or {}, counts)
            record.last = {**counts, "at": _now(), "ended": ended}

    def _failed(self, uid: str, task: int, reason: str) -> None:
        logger.warning("Project %s, task %s has no prediction: %s", uid, task, reason)
        self._office.note_failure(uid, task, reason)

    def _make_work(self, uid: str) -> Work:
        ahead, engine = FetchedAhead(self._images.fetcher), self._basis.worker
        gathering = Gathering(self._basis.engine)
        return Work(
            stored=StoredPredictions(self._label_studio, id_of(uid) or 0),
            predictor=self._basis.predictor(
                self._images.through(ahead, gives_way=True), remembers=False, gathering=gathering
            ),
            snapshot=lambda: self._snapshot(uid),
            ahead=ahead,
            patience=Patience(stopping=self._stopping),
            load=engine.load_models if isinstance(engine, LoadsModels) else tuple,
            threads=gathering.threads if self._basis.remote is None else 1,
            clock_s=self._basis.clock_s,
        )

    def _snapshot(self, uid: str) -> Snapshot:
        """Return the state of a project as Label Studio has it now, and of its categories here.

        Raises:
            RequestError: Label Studio has another project of that number, or a label config that cannot be used.
            _NotReadyError: the label config that is prepared here is an older one, or prototypes are being made.
        """
        found = self._label_studio.project(id_of(uid) or 0)
        if uid not in (found.uid, str(id_of(uid))):  # label-studio-ml shortens a uid to the id
            raise RequestError(f"Label Studio has another project of the number {id_of(uid)} now.")
        most = self._basis.settings.prediction.max_categories
        labelling = read_labelling(found.label_config, max_categories=most)
        if labelling != self._office.labellings().get(uid):
            self._office.read_soon(uid)
            raise _NotReadyError("Label Studio has a newer label config; its categories are prepared first.")
        standing, now_s = self._office.standing(labelling.categories), self._basis.clock_s()
        if standing.pending:
            names = ", ".join(category.name for category in standing.pending)
            raise _NotReadyError(f"Prototypes are made first: {names}.")
        return self._basis.snapshot(labelling, standing, asked_s=now_s, until_s=math.inf)

    def _wait_for_turn(self, uid: str) -> None:
        """Wait until nobody else wants anything.

        Raises:
            _EndedError: the service stops, or the project is not known any more.
        """
        while self._office.is_busy() and not self._stopping.wait(YIELD_S):
            pass
        if self._stopping.is_set() or uid not in self._office.labellings():
            raise _EndedError


def _counts(outcome: Outcome) -> dict[str, Any]:
    """Return the counts of a run for /status; not the reasons, which the run may add to meanwhile."""
    return {
        "model_version": outcome.version,
        "tasks": outcome.in_all,
        "looked_at": outcome.looked_at,
        "predicted": outcome.predicted,
        "up_to_date": outcome.plans["up to date"],
        "removed": outcome.removed,
        "removed_later": outcome.waiting,
        "failures": outcome.failures,
    }


def _with_again(last: Mapping[str, Any], counts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is told of all tasks of a project, after those that had failed were tried again."""
    predicted = last.get("predicted", 0) + counts.get("predicted", 0)
    return {**last, "predicted": predicted, "failures": counts.get("failures", last.get("failures", 0))}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")

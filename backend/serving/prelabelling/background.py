"""The service predicts whole projects by itself, where a setting says so: one at a time, and after everybody else.

A project's turn comes when each of its categories has prototypes or failed, and again when its model version changes,
or when Label Studio says that it has new tasks. What is done is read from Label Studio, so a restart costs a look.
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
from backend.serving.preparing.standing import Standing
from backend.serving.projects import id_of
from backend.serving.vocabulary import Labelling, read_labelling
from backend.sources.images import ImageSource
from backend.sources.label_studio import LabelStudioClient
from backend.sources.stored_predictions import StoredPredictions
from ovdiff.engines.segmenting import LoadsModels
from ovdiff.errors import OVDiffError
from ovdiff.vocabulary import Category

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 5.0  # for a project that is due; a look asks the bank for the categories of each project
PAUSE_S = 60.0  # between two runs over one project: anybody can send an event that says that tasks were added
YIELD_S = 0.05  # how soon it is noticed that nobody asks for anything any more


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
        failed: the tasks that had no prediction after the last run that went through all tasks.
        tidy_at_s: when a run is due because what was replaced is old enough to be deleted.
        last: what became of the last run, as /status tells it.
    """

    done: str = ""
    is_asked_for: bool = False
    not_before_s: float = -math.inf
    failed: frozenset[int] = frozenset()
    tidy_at_s: float = math.inf
    last: dict[str, Any] | None = None


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

    def soon(self, project_id: int) -> None:
        """Have a known project looked at again, such as because tasks were added. This returns at once."""
        with self._lock:
            for uid, record in self._records.items():
                record.is_asked_for |= id_of(uid) == project_id

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
        """Return the project whose last run is longest ago, of those that are due; None if none is."""
        labellings, now_s = self._office.labellings(), self._clock_s()
        with self._lock:
            self._records = {uid: self._records.get(uid) or _Record() for uid in labellings}
            waiting = sorted(self._records.items(), key=lambda item: item[1].not_before_s)
        for uid, record in waiting:
            if now_s < record.not_before_s or id_of(uid) is None:
                continue
            standing = self._office.standing(labellings[uid].categories)
            if standing.pending or not standing.ready:
                continue
            is_wanted = record.is_asked_for or now_s >= record.tidy_at_s
            if is_wanted or record.done != self._basis.version(labellings[uid], standing.ready):
                return uid
        return None

    def _predict(self, uid: str) -> None:
        record = self._records[uid]
        with self._lock:
            record.is_asked_for = False
        outcome, ended, is_ready = None, "", True
        try:
            lock = lock_project(self._basis.settings.data_dir, uid)
            try:
                after_s = self._basis.settings.prediction.delete_replaced_after_s
                run = Run(self._make_work(uid), Orders(delete_after_s=after_s))
                outcome = run.outcome
                with self._lock:
                    self._running = uid, outcome
                run.count()
                run.run(Listener(turn=partial(self._wait_for_turn, uid), failed=partial(self._failed, uid)))
                ended = outcome.changed
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
        if not ended and outcome is not None:
            for task in record.failed.difference(outcome.failed):
                self._office.note_failure(uid, task, None)
            record.failed = frozenset(outcome.failed)
        if not ended and outcome is not None and outcome.failures:
            ended = f"{outcome.failures} tasks have no prediction; /status lists the reasons under failed_tasks."
        self._note(uid, record, outcome, ended, is_ready=is_ready)

    def _note(self, uid: str, record: _Record, outcome: Outcome | None, ended: str, *, is_ready: bool) -> None:
        """Note what became of a run, and when the next one may begin: soon, if it waited for nothing but us."""
        retry_s = self._basis.settings.prediction.retry_failed_after_s
        counts = {} if outcome is None else _counts(outcome)
        if ended:
            logger.warning("Project %s was not predicted to its end: %s", uid, ended)
        else:
            logger.info("Project %s is predicted: %s", uid, counts)
        with self._lock:
            self._running = None
            record.not_before_s = self._clock_s() + (retry_s if ended and is_ready else PAUSE_S)
            after_s = self._basis.settings.prediction.delete_replaced_after_s
            is_waiting = outcome is not None and outcome.waiting > 0
            record.tidy_at_s = self._clock_s() + max(after_s, retry_s) if is_waiting else math.inf
            record.done = outcome.version if outcome is not None and not ended else ""
            at = datetime.now(UTC).isoformat(timespec="seconds")
            record.last = {"at": at, "ended": ended, **counts}

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
    counts = outcome.to_json()
    names = ("model_version", "tasks", "looked_at", "predicted", "up_to_date", "removed", "removed_later", "failures")
    return {name: counts[name] for name in names}

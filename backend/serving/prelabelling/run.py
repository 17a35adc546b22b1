"""Predict the tasks of a project and store the predictions: one run over all tasks, a page at a time.

    pages of bare tasks ──> plans ──> images on their way ──> at work in threads ──> stored ──> old ones deleted

Each arrow is a queue of a fixed length, so memory does not grow with the project. The models are shared with whatever
else the process does, by the engine's own lock.

Tested by tests/backend/command/test_prelabel.py.
"""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from backend.errors import RequestError
from backend.serving.lock_file import LockFile
from backend.serving.predicting.predictions import Answer, Predictor, Snapshot
from backend.serving.prelabelling.ahead import FetchedAhead
from backend.serving.prelabelling.faults import Faults
from backend.serving.prelabelling.outcome import Outcome
from backend.serving.prelabelling.patience import Patience, bare_pages
from backend.serving.prelabelling.plans import ANY_AGE, BareTask, Choice, Plan, plan_tasks
from backend.serving.prelabelling.storing import Made, Storing
from backend.sources.stored_predictions import StoredPredictions, in_requests
from backend.sources.task_filter import ALL_TASKS, TaskFilter, with_ids
from backend.sources.task_pages import count_tasks
from converters.workers import thread_pool

TASKS_AHEAD = 16  # tasks whose images are on their way, before their turn
SECOND_TRIES = 1000  # tasks that failed and are tried once more at the end: a server may have been away for a moment

CHANGED = (
    "The project's label config, or what the engine knows, changed while this ran. {predicted} predictions were stored "
    "under {before}; now it is {now}. Run the same command again: it predicts these tasks anew, too."
)


def lock_project(data_dir: Path, uid: str) -> LockFile:
    """Lock a project, so that no second run works on it with this data folder.

    Raises:
        LockedError: another run does; the error says which process.
        DataFolderError: nothing can be written in the folder.
    """
    name = hashlib.sha256(uid.encode()).hexdigest()[:16]  # a uid is what a request says, and might lead elsewhere
    return LockFile(data_dir / f"prelabel-{name}.lock")


class _ChangedError(Exception):
    """The predictions would have another model version now."""


def nothing(*_: object) -> None:
    """Do nothing: what a run tells when nobody listens."""


@dataclass(frozen=True)
class Listener:
    """What a run tells while it goes on.

    Attributes:
        looked_at: called for each task that needs no more.
        failed: called with the id of a task that has no prediction, and the reason.
        turn: called in the task's thread before it is begun; may wait, and may raise to end the run.
    """

    looked_at: Callable[[], object] = nothing
    failed: Callable[[int, str], object] = nothing
    turn: Callable[[], object] = nothing


@dataclass(frozen=True)
class Work:
    """What a run is made of.

    Attributes:
        stored: the predictions that Label Studio has.
        predictor: makes predictions, of images that come through `ahead`.
        snapshot: returns the state that the next tasks are predicted from.
        ahead: fetches the images of the next tasks.
        patience: asks Label Studio again while it does not answer.
        load: called before the first task is begun; what fails for all tasks fails here, and where nothing is to be
            predicted no model is loaded.
        threads: how many tasks are at work at once; while one has the models, others are decoded or written.
        clock_s: the present moment in seconds.
        now: the date and time.
    """

    stored: StoredPredictions
    predictor: Predictor
    snapshot: Callable[[], Snapshot]
    ahead: FetchedAhead
    patience: Patience
    load: Callable[[], object]
    threads: int
    clock_s: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = lambda: datetime.now(UTC)


@dataclass(frozen=True)
class Orders:
    """What somebody wants of a run.

    Attributes:
        choice: which tasks are predicted, by their predictions.
        only: which tasks are meant at all; of several filters, each is done in turn.
        limit: how many tasks are predicted at most; None for all.
        dry: whether only is counted what would be done.
        delete_after_s: how long after a prediction was replaced it is deleted; until then somebody may have it open.
        are_retried: whether all of these tasks failed in an earlier run; then failures in a row do not end this one.
    """

    choice: Choice = field(default_factory=Choice)
    only: tuple[TaskFilter, ...] = (ALL_TASKS,)
    limit: int | None = None
    dry: bool = False
    delete_after_s: float = 0.0
    are_retried: bool = False


@dataclass
class _Running:
    """The queues of a run.

    Attributes:
        pool: the threads that predict.
        upcoming: tasks whose images are on their way.
        working: tasks that the threads have, in the order in which they were begun.
        second_try: tasks that failed and whose second try is not done yet, with the reasons.
        is_first: whether the tasks were not tried before.
        is_loaded: whether the models are loaded.
    """

    pool: ThreadPoolExecutor
    upcoming: deque[Plan] = field(default_factory=deque)
    working: deque[tuple[Plan, Future[Answer]]] = field(default_factory=deque)
    second_try: dict[int, str] = field(default_factory=dict)
    is_first: bool = True
    is_loaded: bool = False

    @property
    def under_way(self) -> int:
        """How many tasks are begun or about to be, without those whose predictions wait to be stored."""
        return len(self.upcoming) + len(self.working)


class Run:
    """One run over a project. `outcome` is true at every moment, also after an error or an interrupt."""

    def __init__(self, work: Work, orders: Orders) -> None:
        """Ask nothing yet, but for the snapshot that says which version the predictions will have."""
        self._work, self._orders, self._listener = work, orders, Listener()
        self._snapshot = work.snapshot()
        self.outcome, self._faults = Outcome(self._snapshot.version), Faults(are_retried=orders.are_retried)
        self._storing = Storing(
            work.stored, work.patience, self.outcome, self._check, self._note_failure, before=self._before
        )

    def count(self) -> int:
        """Ask how many tasks are meant.

        Raises:
            LabelStudioAPIError: Label Studio refused, or did not answer for long.
        """
        self.outcome.in_all = sum(self._ask_count(only) for only in self._orders.only)
        return self.outcome.in_all

    def run(self, listener: Listener) -> None:
        """Predict and store until no task is left, the limit is reached, or the project changes.

        Raises:
            LabelStudioAPIError: Label Studio refused, or did not answer for long. What was stored is stored.
            RequestError: tasks fail by what would meet all others, too.
        """
        self._listener, work, orders = listener, self._work, self._orders
        with thread_pool(work.threads, "ovdiff-prelabel") as pool, closing(work.ahead):
            running = _Running(pool)
            try:
                for only in orders.only:
                    self._go(only, running)
                self._try_again(running)
            except _ChangedError as change:
                self.outcome.changed = str(change)
                for _, future in running.working:  # Its prediction would have the version of before.
                    future.cancel()
            finally:  # whatever ends the run: these tasks have no prediction
                for task, reason in running.second_try.items():
                    self._note_failure(task, reason)

    def _ask_count(self, only: TaskFilter) -> int:
        return self._work.patience.ask(lambda: count_tasks(self._work.stored.client, self._work.stored.project, only))

    def _go(self, only: TaskFilter, running: _Running) -> None:
        """Work through the tasks of a filter; all queues are empty before and after."""
        for plan in self._plans(only, running):
            running.upcoming.append(plan)
            for image in self._work.predictor.images(plan.task, self._snapshot):
                self._work.ahead.soon(image.reference, image.task)
            if len(running.upcoming) > TASKS_AHEAD:
                self._begin(running)
        self._finish(running)

    def _try_again(self, running: _Running) -> None:
        """Work once more through the tasks that failed, until the limit is reached."""
        running.is_first, self._faults = False, Faults(are_retried=True)
        for some in in_requests(list(running.second_try)):
            self._go(with_ids(some), running)
        if not self._is_enough():
            running.second_try.clear()  # what is left was deleted meanwhile

    def _finish(self, running: _Running) -> None:
        """Wait until all that is under way is stored or failed."""
        while running.upcoming:
            self._begin(running)
        while running.working:
            self._end(running)
        self._storing.flush()

    def _plans(self, only: TaskFilter, running: _Running) -> Iterator[Plan]:
        """Yield the tasks that are to be predicted; of the others, what is left over of ours is deleted."""
        if self._is_enough():
            return
        stored = self._work.stored
        for page in bare_pages(self._work.patience, stored.client, stored.project, only):
            self._check()
            plans = self._planned(page.tasks)
            if not self._orders.dry:
                self._storing.tidy([plan.id for plan in plans if plan.replaced.removed and not plan.predicts])
            for plan in plans:
                if running.is_first:
                    self.outcome.note_plan(plan, is_dry=self._orders.dry)
                if self._orders.dry or not plan.predicts:
                    running.second_try.pop(plan.id, None)
                    self._listener.looked_at()
                else:
                    yield plan
                self._settle(running)
                if self._is_enough():
                    return

    def _check(self) -> None:
        """Look at the project and the engine again: before a page is planned, and before predictions are stored.

        Raises:
            _ChangedError: predictions would have another version now. What was made since the last look may be neither.
        """
        now = self._work.patience.ask(self._work.snapshot)
        if now.version != self.outcome.version:
            told = {"predicted": self.outcome.predicted, "before": self.outcome.version, "now": now.version}
            raise _ChangedError(CHANGED.format(**told))

    def _is_enough(self) -> bool:
        """Return whether so many predictions were stored as are wanted; tasks that failed do not count."""
        done = self.outcome.lacking if self._orders.dry else self.outcome.predicted + self.outcome.stored_meanwhile
        return self._orders.limit is not None and done >= self._orders.limit

    def _settle(self, running: _Running) -> None:
        """Where all that is under way would reach the limit, wait until it is known how many of it fail."""
        limit, done = self._orders.limit, self.outcome.predicted + self.outcome.stored_meanwhile
        if limit is None or done + running.under_way + self._storing.waiting < limit:
            return
        self._finish(running)

    def _planned(self, tasks: Sequence[BareTask]) -> list[Plan]:
        work = self._work
        return work.patience.ask(
            lambda: list(plan_tasks(tasks, work.stored, self.outcome.version, self._orders.choice, self._before()))
        )

    def _before(self) -> datetime:
        """Return the moment at which a prediction must have been replaced, or earlier, to be deleted now."""
        after_s = self._orders.delete_after_s
        return self._work.now() - timedelta(seconds=after_s) if after_s else ANY_AGE

    def _begin(self, running: _Running) -> None:
        """Give the next task to the threads, as soon as one is free; meanwhile finished ones are stored."""
        while len(running.working) >= 2 * self._work.threads:
            self._end(running)
        if not running.is_loaded:
            self._work.load()
            running.is_loaded = True
        plan = running.upcoming.popleft()
        running.working.append((plan, running.pool.submit(self._predicted, plan)))

    def _predicted(self, plan: Plan) -> Answer:
        """Predict a task when its turn comes: one that waits for a thread is not begun yet."""
        self._listener.turn()
        return self._work.predictor.predict(plan.task, self._snapshot)

    def _end(self, running: _Running) -> None:
        """Wait for the task that was begun first, and store its prediction or note why it has none."""
        plan, future = running.working.popleft()
        answer = future.result()
        for image in self._work.predictor.images(plan.task, self._snapshot):
            self._work.ahead.forget(image.reference, image.task)
        running.second_try.pop(plan.id, None)
        if answer.kind == "answered":
            self._storing.add(Made(plan, answer.item), self._work.clock_s())
        elif running.is_first and len(running.second_try) < SECOND_TRIES:
            running.second_try[plan.id] = answer.item["error"]
        else:
            self._note_failure(plan.id, answer.item["error"])
        try:
            self._faults.note(answer)
        except RequestError:
            self._storing.flush()  # what was made before is stored
            raise
        if plan.id not in running.second_try:
            self._listener.looked_at()

    def _note_failure(self, task: int, reason: str) -> None:
        self.outcome.note_failure(task, reason)
        self._listener.failed(task, reason)

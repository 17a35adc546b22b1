"""Annotations teach, where the project says so: an event names one, and Label Studio is asked what it says.

    event ── only its ids ──> notes, in the state file ── quiet for a moment ──> Label Studio ──> lessons of the task

Anybody can send an event. So an event only has Label Studio asked, with this service's own token, about projects that
are known here and that learn; what it says itself is not looked at. A set of bounded length holds what is to be read:
a hundred events of one annotation are one read, and beyond the bound all annotations of the project are read, page by
page, at most once a minute. One thread does that, and waits before each task until nobody wants a prediction. It also
looks after annotations of which no event told (`backend.serving.teaching.missed`).
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from backend.errors import BackendError, StoreError
from backend.serving.events import MAX_IDS, MOST_ID
from backend.serving.prelabelling.background import Office
from backend.serving.prelabelling.patience import Patience
from backend.serving.projects import id_of
from backend.serving.teaching.learning_projects import LearningProjects, LessonPlaces, NotYetError
from backend.serving.teaching.memory import Memory, Progress
from backend.serving.teaching.missed import EVERY_S, MissedAnnotations
from backend.serving.teaching.notes import Kind, Notes, ToRead
from backend.serving.teaching.tasks import LearningProject, PassingError, forget_task, refuse, teach_task
from backend.settings import Settings
from backend.sources.images import ImageSource
from backend.sources.label_studio import LabelStudioClient
from backend.sources.task_filter import annotated, with_ids
from backend.sources.task_pages import Wanted
from ovdiff.engines import SegmentationEngine
from ovdiff.errors import OVDiffError

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0  # whether it is quiet, and whether what waits may go on
WAIT_S = 5.0  # for prototypes, and for a state file that cannot be read
QUIET_S = 2.0  # a person who saves twice, or an import, sends several events at once
LONGEST_WAIT_S = 30.0  # for quiet: where many annotate there is none
PAUSE_S = 60.0  # between two reads of all annotations of a project, and before a project is asked about again
YIELD_S = 0.05  # how soon it is noticed that nobody asks for anything any more
MOST_TRIES = 5  # to fetch an image
SHOWN_REFUSALS = 20  # of each project, in /status

TRAINING = "START_TRAINING"
_OF_ANNOTATIONS = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED")
_OF_TASKS = ("TASKS_DELETED",)

SWITCH = 'write learn="yes" into the outermost <View> of its label config, or set OVDIFF_LEARN=yes for all projects'


class _EndedError(Exception):
    """The service stops."""


class Teacher:
    """Hears of annotations, and has a thread that makes lessons of them."""

    def __init__(
        self,
        settings: Settings,
        engine: SegmentationEngine,
        office: Office,
        label_studio: LabelStudioClient,
        images: ImageSource,
        notes: Notes,
        *,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Do nothing yet.

        Args:
            settings: all settings.
            engine: the method; if it does not learn, nothing is ever read.
            office: what is seen of the service.
            label_studio: where annotations are.
            images: where images of tasks come from.
            notes: what is to be read.
            clock_s: the present moment in seconds.
        """
        self._engine, self._office, self._notes, self._clock_s = engine, office, notes, clock_s
        self._retry_s = settings.prediction.retry_failed_after_s
        self._lock = threading.Lock()
        self._memory = Memory()
        self._stopping, self._woken = threading.Event(), threading.Event()
        patience = Patience(stopping=self._stopping)
        self._projects = LearningProjects(settings, engine, office, label_studio, images, patience)
        self._missed = MissedAnnotations(self._projects, notes, clock_s=clock_s)
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to read what was noted, also before a restart."""
        if not self._projects.obstacle:
            self._thread = threading.Thread(target=self._work, name="ovdiff-teacher", daemon=True)
            self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Begin no further task, and wait for the one that is at work, at most `timeout_s`."""
        self._stopping.set()
        self._woken.set()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def hear(self, action: str, ids: Mapping[str, Any]) -> str:
        """Note what an event is about, and return what comes of it; "" if nothing does. This is quick.

        Args:
            action: what Label Studio calls the event.
            ids: what `backend.serving.events.event_ids` found in it.

        Raises:
            StoreError: the state file cannot be written.
        """
        if action != TRAINING and action not in _OF_ANNOTATIONS + _OF_TASKS:
            return ""
        project, learning = ids.get("project"), self._projects.learning()
        numbers = {number for uid in learning if (number := id_of(uid)) is not None}
        if project is not None:
            numbers &= {project}
        if self._projects.obstacle:
            return self._projects.obstacle if action == TRAINING else ""
        if not numbers or (action == TRAINING and project is None):
            return f"this project does not learn: {SWITCH}" if action == TRAINING else ""
        if action == TRAINING:
            self._notes.add_projects(numbers)
        elif not self._note("annotation" if action in _OF_ANNOTATIONS else "task", ids, numbers):
            return ""
        self._heard()
        which = "all annotations of the project" if action == TRAINING else "what it says"
        return f"{which} will be read from Label Studio; /status says how far that is"

    def _note(self, kind: Kind, ids: Mapping[str, Any], projects: set[int]) -> bool:
        """Note annotations or tasks. Where they are too many, or some ids may be cut off, note their projects.

        Returns:
            Whether there was anything to note.
        """
        listed = ids.get(f"{kind}s")
        is_whole = listed is None or ("project" in ids and len(listed) < MAX_IDS)
        named = set(listed or ()) | ({ids[kind]} if kind in ids else set())
        if not (is_whole and self._notes.add(kind, named)):
            self._notes.add_projects(projects)
        return bool(named) or not is_whole

    def _heard(self) -> None:
        now_s = self._clock_s()
        with self._lock:
            self._memory.heard_s = min(self._memory.heard_s[0], now_s), now_s
            self._memory.may_have_rows = True
        self._woken.set()

    def status(self) -> dict[str, Any]:
        """Return which projects learn, what is to be read, and what was refused, as a JSON object."""
        learning = self._projects.learning()
        with self._lock:
            memory = self._memory
            missed = (problem for uid, problem in memory.missed_problems.items() if uid in learning)
            problem, waits = memory.problem or next(missed, ""), dict(memory.waits)
            running = None if memory.running is None else asdict(memory.running)
        try:
            rows, counts = self._notes.to_read(), self._notes.counts()
            refusals = {uid: self._notes.refusals(uid, SHOWN_REFUSALS) for uid in learning}
        except StoreError as error:
            rows, counts, refusals, problem = [], {}, {}, str(error)
        return {
            "obstacle": self._projects.obstacle if learning else "",
            "problem": problem,
            "running": running,
            "to_read": {kind: sum(row.kind == kind for row in rows) for kind in ("annotation", "task", "project")},
            "projects": {
                uid: {
                    "lessons": counts.get(uid, (0, 0))[0],
                    "refused": counts.get(uid, (0, 0))[1],
                    "refusals": list(map(asdict, refusals.get(uid, ()))),
                    "waits_for": waits.get(uid, ""),
                }
                for uid in learning
            },
        }

    def _work(self) -> None:
        while not self._stopping.is_set():
            try:
                if self.is_due():
                    self._round()
                self._look_for_missed()
            except _EndedError:
                return
            except Exception as error:  # it is to live on, for the next annotations
                if not isinstance(error, StoreError):
                    logger.exception("Learning from annotations failed unexpectedly.")
                with self._lock:
                    self._memory.problem, self._memory.may_have_rows = str(error), True
                self._stopping.wait(WAIT_S)
            self._woken.wait(LOOK_EVERY_S)
            self._woken.clear()

    def is_due(self) -> bool:
        """Return whether something is to be read, and no event came for a moment; forget then that any came."""
        now_s = self._clock_s()
        with self._lock:
            memory = self._memory
            first_s, last_s = memory.heard_s
            if not memory.may_have_rows or (now_s - last_s < QUIET_S and now_s - first_s < LONGEST_WAIT_S):
                return False
            memory.heard_s = (math.inf, -math.inf)
            memory.may_have_rows = False
            return True

    def _round(self) -> None:
        """Read what is to be read; what cannot be read now stays, and the others are read all the same."""
        rows = self._notes.to_read()
        with self._lock:
            memory, now_s = self._memory, self._clock_s()
            memory.may_have_rows |= bool(rows)
            ready = [row for row in rows if memory.not_before_s.get((row.kind, row.number), -math.inf) <= now_s]
            kept = {(row.kind, row.number) for row in rows}
            memory.not_before_s = {
                key: at_s for key, at_s in memory.not_before_s.items() if key in kept or at_s > now_s
            }
            if ready or not rows:
                memory.problem = ""
            if ready:
                memory.waits = self._projects.waiting()
        if memory.waits and len(memory.waits) == len(self._projects.learning()):  # Label Studio need not be asked
            for row in ready:
                self._later(row, WAIT_S)
            return
        lessons = LessonPlaces(self._engine)
        for row in ready:
            self._wait_for_turn()
            try:
                self._read(row, lessons)
            except NotYetError as error:
                with self._lock:
                    self._memory.waits[error.uid] = str(error)
                self._later(row, 6 * WAIT_S)
            except PassingError as error:
                self._notes.failed(row)
                self._later(row, self._retry_s, str(error))
            except _EndedError:
                raise
            except Exception as error:
                if not isinstance(error, BackendError | OVDiffError):
                    logger.exception("Learning from an annotation failed unexpectedly.")
                logger.warning("Annotations wait for %g s: %s", self._retry_s, error)
                for each in ready:  # the same would meet the others
                    self._later(each, self._retry_s * (2 if each is row else 1), str(error))
                return

    def _look_for_missed(self) -> None:
        """Look after annotations of which no event told; a project that cannot be looked at now keeps no other one."""
        for uid in self._missed.due():
            try:
                self._learn_missed(uid)
            except NotYetError as error:
                with self._lock:
                    self._memory.waits[uid] = str(error)
                self._missed.later(uid, 6 * WAIT_S)
            except _EndedError:
                raise
            except Exception as error:
                if not isinstance(error, BackendError | OVDiffError):
                    logger.exception("Looking after annotations failed unexpectedly.")
                logger.warning("Project %s: annotations are looked after in %g s: %s", uid, self._retry_s, error)
                with self._lock:
                    self._memory.missed_problems[uid] = str(error)
                self._missed.later(uid, self._retry_s)

    def _learn_missed(self, uid: str) -> None:
        try:
            for each in self._missed.changed(uid):
                self._tell(Progress(uid, each.done, each.tasks))
                self._wait_for_turn()
                if each.task is None:
                    forget_task(each.project, each.number, self._notes)
                else:
                    self._teach(each.project, each.task, anew=False)
        finally:
            self._tell(None)
        with self._lock:
            self._memory.missed_problems.pop(uid, None)
            self._memory.waits.pop(uid, None)
        self._missed.later(uid, EVERY_S)

    def _later(self, row: ToRead, seconds: float, problem: str = "") -> None:
        with self._lock:
            self._memory.not_before_s[row.kind, row.number] = self._clock_s() + seconds
            self._memory.problem = problem or self._memory.problem
            self._memory.may_have_rows = True

    def _read(self, row: ToRead, lessons: LessonPlaces) -> None:
        """Read one thing to its end.

        Raises:
            _EndedError, NotYetError, PassingError, BackendError, OVDiffError: it was not read to its end.
        """
        if row.kind == "project":
            self._read_all(row)
            return
        for number, task in self._projects.places(row, self._notes, lessons):
            project = self._projects.project(number)
            if project is not None:
                self._look_at(project, task, is_last=row.tries + 1 >= MOST_TRIES)
        self._notes.done(row)

    def _look_at(self, project: LearningProject, task: int, *, is_last: bool) -> None:
        """Read a task of a project, and make its lessons what its annotations say; remove them if it is gone."""
        page = self._projects.page(project.number, Wanted(with_ids((task,))))
        if page is None:
            forget_task(project, task, self._notes)
            return
        try:
            teach_task(project, page.tasks[0], self._notes, anew=False)
        except PassingError as error:
            if not is_last:
                raise
            refuse(project, error.record, error.made, str(error), self._notes)

    def _read_all(self, row: ToRead) -> None:
        """Read all annotated tasks of a project, a page after the other."""
        begun, after = 0, row.after
        try:
            while (project := self._projects.project(row.number)) is not None:
                page = self._projects.page(row.number, Wanted(annotated(), after))
                tasks = () if page is None else page.tasks
                left = 0 if page is None else page.left
                known = self._notes.tasks(project.uid, after=after)
                after = int(tasks[-1]["id"]) if tasks and left else MOST_ID
                for done, task in enumerate(tasks, start=begun):
                    self._tell(Progress(project.uid, done, begun + len(tasks) + left))
                    self._wait_for_turn()
                    self._teach(project, task, anew=True)
                begun += len(tasks)
                there = {task["id"] for task in tasks}
                for number in known:
                    if number <= after and number not in there:  # nobody annotates it any more, or it is gone
                        self._wait_for_turn()
                        self._look_at(project, number, is_last=True)
                if not left:
                    break
                self._notes.reached(row, after)
        finally:
            self._tell(None)
        self._notes.done(row)
        self._later(row, PAUSE_S)

    def _teach(self, project: LearningProject, task: Mapping[str, Any], *, anew: bool) -> None:
        """Take the lessons of one of many tasks; one whose image cannot be had now is read again by itself."""
        try:
            teach_task(project, task, self._notes, anew=anew)
        except PassingError as error:
            number = error.made.id
            if isinstance(number, int) and self._notes.add("annotation", [number]):
                with self._lock:
                    self._memory.may_have_rows = True
            else:
                refuse(project, error.record, error.made, str(error), self._notes)

    def _tell(self, running: Progress | None) -> None:
        with self._lock:
            self._memory.running = running

    def _wait_for_turn(self) -> None:
        """Wait until nobody else wants anything.

        Raises:
            _EndedError: the service stops.
        """
        while self._office.is_busy() and not self._stopping.wait(YIELD_S):
            pass
        if self._stopping.is_set():
            raise _EndedError

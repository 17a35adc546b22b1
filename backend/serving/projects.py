"""Which label config is in force for which project: one truth, under one lock.

Who decides, and in which order:

- /setup and what is read from Label Studio itself decide. Of two, the one that was received last wins; what is read
  counts as received when Label Studio was asked for it. So neither a slow parse nor a slow answer puts an old config
  back. Two /setup may arrive in another order than Label Studio sent them, so Label Studio is asked after each change.
- /predict decides nothing. It is answered by the config that it carries, which may be an old one. If it is not the
  config in force, Label Studio is asked which one holds.
- The service may not know the project of a /predict, such as after the state file was lost. Then the config of the
  /predict is in force for the time being, because prototypes that are made for it are better than none, and Label
  Studio is asked at once. Such a config is not written to the state file.

A project's name in Label Studio, its uid, is "<id>.<created at>". An id that was given anew has another uid, so it is
another project, and knows nothing of the old one.

The state file is written in the same order: whoever writes, writes what is in force then.
"""

from __future__ import annotations

import itertools
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from backend.errors import StoreError, UnusableLabelConfigError
from backend.serving.preparing.precompute import Precompute
from backend.serving.store import Marks, Store
from backend.serving.vocabulary import Labelling, read_labelling

logger = logging.getLogger(__name__)

PROVISIONAL = -1
"""The order of a config that only a /predict carried; whatever decides comes after it."""


@dataclass(frozen=True)
class ProjectState:
    """A project as the service knows it.

    Attributes:
        labelling: the content of the label config in force; None if no usable config was seen yet.
        error: why the newest label config cannot be used; None if it can be.
    """

    labelling: Labelling | None = None
    error: str | None = None


@dataclass
class _Project:
    """What is known of a project; changed only under the lock of `Projects`.

    Attributes:
        label_config: the XML of `labelling`; "" if only a /predict carried it, so that it is never written.
        labelling, error: see `ProjectState`.
        order: the place of the newest config among all that were received; PROVISIONAL if only a /predict carried it.
        doubted: the last config of a /predict that was not the one in force; it is asked about once.
        saved_at: when the config changed last, by the state file; None if the file does not have it yet.
        heard_s: when Label Studio last sent a request for this project.
        asked_s: when Label Studio was last asked whether the project exists.
    """

    label_config: str = ""
    labelling: Labelling | None = None
    error: str | None = None
    order: int = PROVISIONAL
    doubted: Labelling | None = None
    saved_at: str | None = None
    heard_s: float = -math.inf
    asked_s: float = -math.inf

    @property
    def is_decided(self) -> bool:
        """Whether more than a /predict speaks for the project."""
        return self.order != PROVISIONAL


class Projects:
    """The label config of each project. What their categories lack is ordered from a `Precompute`.

    Threads may share it. Nobody waits for the disk or for Label Studio while holding the lock.
    """

    def __init__(
        self,
        store: Store,
        precompute: Precompute,
        *,
        max_categories: int,
        ask_about: Callable[[str], None],
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Know no project yet; `start` reads those of the state file.

        Args:
            store: the state file.
            precompute: builds what the label configs in force want.
            max_categories: a label config with more categories is refused.
            ask_about: called with a uid when Label Studio should be asked for the project; must return at once.
            clock_s: the clock by which a project is quiet.
        """
        self._store = store
        self._precompute = precompute
        self._max_categories = max_categories
        self._ask_about = ask_about
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._projects: dict[str, _Project] = {}
        self._orders = itertools.count()
        self._writing = threading.Lock()  # taken before `_lock`, by whoever writes the state file
        self._complaint = ""

    def start(self) -> None:
        """Read the known projects from the state file."""
        for stored in self._store.projects():
            labelling, error = self._read(stored.label_config)
            if error is not None:
                logger.warning("Project %s: %s", stored.uid, error)
            with self._lock:
                project = self._projects.setdefault(stored.uid, _Project())
                project.order, project.saved_at = self.next_order(), stored.changed_at
                self._put_in_force(stored.uid, stored.label_config, labelling, str(error) if error else None)

    def setup(self, uid: str, label_config: str) -> Labelling:
        """Put the label config of a /setup in force, and return its content.

        If a newer one was received meanwhile, that stays in force; the answer follows from this one all the same.

        Raises:
            UnusableLabelConfigError: no vocabulary can be made from the label config; the last usable one is kept.
        """
        order = self.next_order()
        labelling, error = self._read(label_config)
        with self._lock:
            project = self._projects.setdefault(uid, _Project())
            project.heard_s = self._clock_s()
            before = project.labelling if project.is_decided else None
            is_newest = order > project.order
            if is_newest:
                project.order = order
                self._put_in_force(uid, label_config, labelling, str(error) if error else None)
        self._save(uid)
        if not is_newest or (before is not None and before != labelling):
            self._ask_about(uid)
        if labelling is None:
            raise error or UnusableLabelConfigError("The label config cannot be used.")
        return labelling

    def next_order(self) -> int:
        """Return the place, among all configs that are received, of one that is received or asked for now."""
        return next(self._orders)

    def read_back(self, uid: str, label_config: str, order: int) -> None:
        """Put a label config in force that was read from Label Studio; do nothing if the project is not known.

        Args:
            uid: the project.
            label_config: the XML.
            order: the answer of `next_order` before Label Studio was asked.
        """
        labelling, error = self._read(label_config)
        if error is not None:
            logger.warning("Project %s: %s", uid, error)
        with self._lock:
            project = self._projects.get(uid)
            if project is None or order <= project.order:
                return
            project.order = order
            self._put_in_force(uid, label_config, labelling, str(error) if error else None)
        self._save(uid)

    def of_prediction(self, uid: str, label_config: str) -> Labelling:
        """Return the content of the label config that a /predict carries. For a known project it decides nothing.

        Raises:
            UnusableLabelConfigError: no vocabulary can be made from the label config.
        """
        labelling = read_labelling(label_config, max_categories=self._max_categories)
        with self._lock:
            project = self._projects.setdefault(uid, _Project())
            project.heard_s = self._clock_s()
            doubtful = labelling not in (project.labelling, project.doubted)
            if doubtful and project.is_decided:
                project.doubted = labelling
            elif doubtful:
                self._put_in_force(uid, "", labelling, None)
        if doubtful:
            self._ask_about(uid)
        return labelling

    def states(self) -> dict[str, ProjectState]:
        """Return the state of each project by its uid."""
        with self._lock:
            return {uid: ProjectState(each.labelling, each.error) for uid, each in sorted(self._projects.items())}

    def uids(self, project_id: int) -> list[str]:
        """Return the uids of the known projects that have or had this id in Label Studio."""
        with self._lock:
            return [uid for uid in self._projects if id_of(uid) == project_id]

    def quiet(self, quiet_s: float) -> list[str]:
        """Return the uids of which nothing was heard for so long, and which were not asked about for so long."""
        with self._lock:
            since_s = self._clock_s() - quiet_s
            return [uid for uid, each in self._projects.items() if max(each.heard_s, each.asked_s) <= since_s]

    def note_asked(self, uid: str) -> None:
        """Note that Label Studio was asked about a project."""
        with self._lock:
            if uid in self._projects:
                self._projects[uid].asked_s = self._clock_s()

    def is_provisional(self, uid: str) -> bool:
        """Return whether nothing but a /predict speaks for a project."""
        with self._lock:
            return uid in self._projects and not self._projects[uid].is_decided

    def forget(self, uid: str, before: int | None = None) -> None:
        """Drop a project, also from the state file. Its prototypes stay in the bank; a /setup brings it back.

        Args:
            uid: the project.
            before: do nothing if the config in force was received after this answer of `next_order`.
        """
        with self._writing:
            with self._lock:
                project = self._projects.get(uid)
                if project is not None and before is not None and project.order > before:
                    return
                self._projects.pop(uid, None)
                self._precompute.forget(uid)
            with tolerating_store_errors():
                self._store.forget(uid)

    def agree_with_file(self) -> None:
        """Forget what was marked in the state file, and write what it lacks.

        It lacks a config where the disk was full, and all of them where the file was lost or replaced. A complaint that
        repeats itself is logged once.
        """
        try:
            order = self.next_order()
            marks = self._store.marks()
            for uid in marks.forgotten:
                logger.info("Project %s is forgotten, as `ovdiff projects forget` asked.", uid)
                self.forget(uid, before=order)
            for uid in self._lacking(marks):
                self._write(uid)
            self._complaint = ""
        except StoreError as error:
            if self._complaint != str(error):
                self._complaint = str(error)
                logger.error("%s", error)

    def _lacking(self, marks: Marks) -> list[str]:
        with self._lock:
            decided = {uid: each for uid, each in self._projects.items() if each.is_decided}
            return [
                uid
                for uid, each in decided.items()
                if each.label_config and (each.saved_at is None or each.saved_at != marks.changed_at.get(uid))
            ]

    def _read(self, label_config: str) -> tuple[Labelling | None, UnusableLabelConfigError | None]:
        try:
            return read_labelling(label_config, max_categories=self._max_categories), None
        except UnusableLabelConfigError as error:
            return None, error

    def _put_in_force(self, uid: str, label_config: str, labelling: Labelling | None, error: str | None) -> None:
        """Change a project under the lock; an unusable config leaves the last usable one in force."""
        project = self._projects[uid]
        project.error = error
        if labelling is not None:
            if labelling.unread and labelling != project.labelling:  # once, not at each /setup
                logger.warning("Project %s: %s", uid, " ".join(unread.text() for unread in labelling.unread))
            project.label_config, project.labelling, project.doubted = label_config, labelling, None
            self._precompute.want(uid, labelling.categories)

    def _save(self, uid: str) -> None:
        with tolerating_store_errors():
            self._write(uid)

    def _write(self, uid: str) -> None:
        """Write the config that is in force now; the last writer therefore writes the newest one."""
        with self._writing:
            with self._lock:
                project = self._projects.get(uid)
                if project is None or not project.label_config:
                    return
                label_config = project.label_config
                project.saved_at = None
            saved_at = self._store.save_label_config(uid, label_config)
            with self._lock:
                project.saved_at = saved_at


def id_of(uid: str) -> int | None:
    """Return the id of a project in Label Studio, the part of its uid before the dot; None if there is none."""
    number = uid.partition(".")[0]
    return int(number) if number.isascii() and number.isdigit() and len(number) < 19 else None


@contextmanager
def tolerating_store_errors() -> Iterator[None]:
    """Log errors of the state file and go on: no prediction depends on it, it only saves work after a restart."""
    try:
        yield
    except StoreError as error:
        logger.error("%s", error)

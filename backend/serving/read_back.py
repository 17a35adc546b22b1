"""What Label Studio itself says of projects: asked in a thread of its own, so that no request waits for it.

A project is asked for when an event says that it changed, when two label configs contradict each other, and once a day
if nothing was heard of it. If Label Studio does not answer then, it is asked again after some minutes: an edit that
nobody reads would wait until somebody opens the project's page. Label Studio may answer that there is no such project,
or another one of that number: then a project of which nothing was heard for a day is forgotten. A Label Studio that
cannot be reached or refuses the token says nothing. A project of another Label Studio looks as if it were gone; its
next /setup brings it back.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from backend.errors import LabelStudioAPIError, NoSuchProjectError
from backend.serving.projects import Projects, id_of
from backend.sources.label_studio import LabelStudioClient

logger = logging.getLogger(__name__)

DAY_S = 24 * 3600.0
PAUSE_S = 3600.0  # until quiet projects are asked for again, after Label Studio could not be reached
AGAIN_S = 300.0  # until a project is asked for again that somebody wanted to be read, and that could not be
LOOK_EVERY_S = 2.0  # how soon a running service notices `ovdiff projects forget`, or that its state file is gone


class ReadBack:
    """A thread that asks Label Studio about projects, and keeps what is known in agreement with the state file."""

    def __init__(
        self,
        label_studio: LabelStudioClient,
        *,
        found: Callable[[str], object] = lambda _uid: None,
        clock_s: Callable[[], float] = time.monotonic,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        """Ask nothing yet.

        Args:
            label_studio: what is asked.
            found: called with the uid of a project that Label Studio has, by the thread, after it has read the label
                configs that were asked for.
            clock_s: the present moment in seconds.
            look_every_s: the time between two looks at the state file.
        """
        self._label_studio, self._found = label_studio, found
        self._clock_s = clock_s
        self._look_every_s = look_every_s
        self._changed = threading.Condition()
        self._asked_for: dict[int, None] = {}
        self._again_s: dict[int, float] = {}  # when those are asked for again that could not be; of the thread alone
        self._paused_until_s = 0.0
        self._stopping = False
        self._to_tell: dict[str, None] = {}

    def start(self, projects: Projects) -> None:
        """Begin to answer `soon`, and to look after quiet projects."""
        threading.Thread(target=self._work, args=(projects,), name="ovdiff-read-back", daemon=True).start()

    def stop(self) -> None:
        """Begin no further request to Label Studio. A request that is under way is not waited for."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def soon(self, project_id: int | None) -> None:
        """Have a project read from Label Studio, unless that is about to happen. This returns at once."""
        with self._changed:
            if project_id is not None:
                self._asked_for[project_id] = None
                self._changed.notify_all()

    def _work(self, projects: Projects) -> None:
        while not self._stopping:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or self._asked_for, self._look_every_s)
                asked_for, self._asked_for = list(self._asked_for), {}
            try:
                due = [project_id for project_id, at_s in self._again_s.items() if self._clock_s() >= at_s]
                for project_id in dict.fromkeys([*asked_for, *due]):
                    self._ask_until_answered(project_id, projects)
                projects.agree_with_file()
                self.ask_about_quiet(projects)
                while self._to_tell and not (self._asked_for or self._stopping):
                    self._found(self._to_tell.popitem()[0])
            except Exception:
                logger.exception("Looking after the projects failed unexpectedly.")

    def _ask_until_answered(self, project_id: int, projects: Projects) -> None:
        """Ask for a project, and again after a while if Label Studio did not answer; without a token it never would."""
        self._again_s.pop(project_id, None)
        if not self.ask(project_id, projects) and self._label_studio.has_token:
            self._again_s[project_id] = self._clock_s() + AGAIN_S

    def ask(self, project_id: int, projects: Projects) -> bool:
        """Read the label config of a project from Label Studio; return whether Label Studio answered.

        Only a project that is known already is asked for, because anybody can send an event.
        """
        known = projects.uids(project_id)
        if self._stopping or not known:
            return True
        order = projects.next_order()
        found = ""
        try:
            project = self._label_studio.project(project_id)
            found = project.uid
            for uid in known:
                if uid in (found, str(project_id)):  # label-studio-ml shortens a uid to the id
                    projects.read_back(uid, project.label_config, order)
                    self._to_tell[uid] = None
        except NoSuchProjectError as error:
            logger.info("%s", error)
        except LabelStudioAPIError as error:
            logger.warning("The label config of project %s cannot be read now: %s", project_id, error)
            return False
        self._forget_others(projects, known, found)
        return True

    def ask_about_quiet(self, projects: Projects) -> None:
        """Ask for the projects of which nothing was heard for a day, each once a day.

        A project that is asked for `soon` goes first: the other ones are asked for afterwards.
        """
        now_s = self._clock_s()
        for uid in projects.quiet(DAY_S):
            if projects.is_provisional(uid):  # nothing but a request of yesterday spoke for it
                projects.forget(uid)
        if not self._label_studio.has_token or now_s < self._paused_until_s:
            return
        for uid in projects.quiet(DAY_S):
            if self._asked_for or self._stopping:
                return
            project_id = id_of(uid)
            if project_id is not None and not self.ask(project_id, projects):
                self._paused_until_s = now_s + PAUSE_S
                return
            projects.note_asked(uid)

    def _forget_others(self, projects: Projects, known: list[str], found: str) -> None:
        """Forget the quiet projects of an id that Label Studio does not have, or has for another project."""
        alive = {found, found.partition(".")[0]}
        for uid in set(projects.quiet(DAY_S)) & set(known) - alive:
            logger.info("Project %s is forgotten: Label Studio does not have it any more.", uid)
            projects.forget(uid)

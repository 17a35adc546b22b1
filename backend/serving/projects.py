"""The projects that are connected, and the label config that is in force for each."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from backend.errors import BackendError, StoreError, UnusableLabelConfigError
from backend.serving.precompute import Precompute
from backend.serving.store import Store
from backend.serving.vocabulary import Labelling, read_labelling
from backend.sources.label_studio import LabelStudioClient

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ProjectState:
    """A project as the service knows it.

    Attributes:
        labelling: the content of the label config in force; None if no usable config was seen yet.
        error: why the newest label config cannot be used; None if it can be.
    """

    labelling: Labelling | None = None
    error: str | None = None


class Projects:
    """The label config of each project: read from the state file, from /setup and from Label Studio itself.

    Threads may share it. What the projects' categories lack is ordered from a `Precompute`.
    """

    def __init__(
        self, store: Store, label_studio: LabelStudioClient, precompute: Precompute, *, max_categories: int
    ) -> None:
        """Know no project yet; `start` reads those of the state file."""
        self._store = store
        self._label_studio = label_studio
        self._precompute = precompute
        self._max_categories = max_categories
        self._lock = threading.Lock()
        self._labellings: dict[str, Labelling] = {}
        self._config_errors: dict[str, str] = {}
        self._refreshing: set[int] = set()
        self._refresher = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ovdiff-refresh")

    def start(self) -> None:
        """Read the known projects from the state file."""
        for uid, label_config in self._store.label_configs().items():
            try:
                self.adopt(uid, label_config)
            except UnusableLabelConfigError as error:
                logger.warning("Project %s: %s", uid, error)

    def stop(self) -> None:
        """Begin no further request to Label Studio."""
        self._refresher.shutdown(wait=False, cancel_futures=True)  # a refresh may wait for Label Studio

    def adopt(self, uid: str, label_config: str) -> Labelling:
        """Make this the label config of a project: missing prototypes are ordered, also after a restart.

        Args:
            uid: the name that Label Studio gives the project, "<id>.<created at>".
            label_config: the XML.

        Raises:
            UnusableLabelConfigError: no vocabulary can be made from the label config.
        """
        try:
            labelling = read_labelling(label_config, max_categories=self._max_categories)
        except UnusableLabelConfigError as error:
            with self._lock:
                self._config_errors[uid] = str(error)
            raise
        with self._lock:
            self._labellings[uid] = labelling
            self._config_errors.pop(uid, None)
        self._precompute.want(uid, labelling.categories)
        with tolerating_store_errors():
            self._store.save_label_config(uid, label_config)
        return labelling

    def states(self) -> dict[str, ProjectState]:
        """Return the state of each project by its uid."""
        with self._lock:
            uids = sorted(self._labellings.keys() | self._config_errors.keys())
            return {uid: ProjectState(self._labellings.get(uid), self._config_errors.get(uid)) for uid in uids}

    def refresh_later(self, project_id: int) -> None:
        """Have a project's label config read from Label Studio in the background, unless that is about to happen."""
        with self._lock:
            if project_id in self._refreshing:
                return
            self._refreshing.add(project_id)
        self._refresher.submit(self._refresh, project_id)

    def _refresh(self, project_id: int) -> None:
        with self._lock:
            self._refreshing.discard(project_id)
            known = set(self._labellings) | set(self._config_errors)
        if not any(uid.split(".")[0] == str(project_id) for uid in known):
            return
        try:
            project = self._label_studio.project(project_id)
            if project.uid in known:
                self.adopt(project.uid, project.label_config)
        except BackendError as error:
            logger.warning("The changed project %s waits for its next /setup: %s", project_id, error)


@contextmanager
def tolerating_store_errors() -> Iterator[None]:
    """Log errors of the state file and go on: no prediction depends on it, it only saves work after a restart."""
    try:
        yield
    except StoreError as error:
        logger.error("%s", error)

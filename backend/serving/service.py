"""What the service does, without HTTP: prepare a project, predict its tasks, take note of events.

One request for predictions is answered from one snapshot: which categories are ready is looked up once, and
both the masks and `model_version` follow from it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from backend import __version__
from backend.engine import Engine
from backend.errors import BackendError, BusyError, StoreError, UnusableLabelConfigError
from backend.serving.events import ACTION_CHARACTERS, event_ids
from backend.serving.model_version import model_version
from backend.serving.precompute import Precompute
from backend.serving.predictions import Item, Predictor, Snapshot, Task, failed_item
from backend.serving.store import Store
from backend.serving.vocabulary import Labelling, read_labelling
from backend.settings import Settings
from backend.sources.images import ImageSource
from backend.sources.label_studio import LabelStudioClient
from ovdiff.vocabulary import Category
from ovdiff.vocabulary.kinds import KindDecision

logger = logging.getLogger(__name__)

SLOT_WAIT_S = 10.0  # a little patience before a request is turned away
BASE_VERSION = f"ovdiff-{__version__}"


class Service:
    """The backend of all projects that are connected to it. Threads may share it."""

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        *,
        store: Store,
        images: ImageSource,
        label_studio: LabelStudioClient,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Put the parts together; nothing runs before `start`."""
        self._settings = settings
        self._engine = engine
        self._store = store
        self._label_studio = label_studio
        self._clock_s = clock_s
        self._precompute = Precompute(engine, retry_failed_after_s=settings.prediction.retry_failed_after_s)
        self._predictor = Predictor(engine, images, settings.output, clock_s)
        self._slots = threading.BoundedSemaphore(settings.prediction.prediction_slots)
        self._waiting = threading.BoundedSemaphore(settings.prediction.waiting_places)
        self._lock = threading.Lock()
        self._labellings: dict[str, Labelling] = {}
        self._config_errors: dict[str, str] = {}
        self._refreshing: set[int] = set()
        self._refresher = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ovdiff-refresh")

    def start(self) -> None:
        """Take up the projects known from before, and start making what they lack."""
        for project, label_config in self._store.label_configs().items():
            try:
                self._adopt(project, label_config)
            except UnusableLabelConfigError as error:
                logger.warning("Project %s: %s", project, error)
        self._precompute.start()

    def stop(self) -> None:
        """End the background threads, a build between two batches."""
        self._refresher.shutdown(wait=False, cancel_futures=True)  # a refresh may wait for Label Studio
        self._precompute.stop()

    def setup(self, project: str, schema: str, extra_params: object = None) -> dict[str, str]:
        """Prepare a project: have the prototypes of new categories made, and name the version in force.

        Args:
            project: Label Studio's name of it, "<id>.<created at>".
            schema: its label config.
            extra_params: the JSON given when the backend was connected; nothing is read from it.

        Raises:
            UnusableLabelConfigError: no vocabulary can be made from the label config.
        """
        if extra_params:
            logger.info("Project %s: extra_params are not used by this backend.", project)
        labelling = self._adopt(project, schema)
        version = self._version(labelling, self._precompute.ready(labelling.categories))
        with self._tolerating_store_errors():
            self._store.save_model_version(project, version)
        return {"model_version": version}

    def predict(
        self, project: str, tasks: Sequence[Task], label_config: str, context: Mapping[str, Any] | None = None
    ) -> list[Item]:
        """Return exactly one item a task, in order.

        What an item can be is told in `backend.serving.predictions`. With a context, the answer is the mask that
        somebody asked for by a click or a rectangle; for that nobody is kept waiting.

        Raises:
            BusyError: too many requests are being answered.
        """
        deadline_s = self._clock_s() + self._settings.prediction.answer_within_s
        with self._slot():
            try:
                labelling = self._adopt(project, label_config)
            except UnusableLabelConfigError as error:
                logger.warning("Project %s: %s", project, error)
                return [failed_item(BASE_VERSION, str(error)) for _ in tasks]
            if context is not None:
                snapshot = self._snapshot(labelling, deadline_s, wait_s=0.0)
                return [self._predictor.answer(task, context, snapshot) for task in tasks]
            snapshot = self._snapshot(labelling, deadline_s, wait_s=self._settings.prediction.wait_for_prototypes_s)
            return [self._predictor.predict(task, snapshot) for task in tasks]

    def event(self, action: str, data: Mapping[str, Any]) -> dict[str, str]:
        """Take note of what Label Studio tells; quick, because a person waits for it.

        These come without authentication, so nothing in them is acted on. A changed project is merely a
        reason to ask Label Studio itself for the label config, if the project is known; the rest is
        remembered by ids.
        """
        details, action = event_ids(data), action[:ACTION_CHARACTERS]
        with self._tolerating_store_errors():
            self._store.add_event(action, details)
        logger.info("Event %r %s", action, details)
        if action == "PROJECT_UPDATED" and "project" in details:
            self._refresh_later(details["project"])
            return {"status": "recorded", "detail": "the label config will be read from Label Studio"}
        if action == "START_TRAINING":
            return {"status": "recorded", "detail": "there is nothing to train: this version does not learn"}
        return {"status": "recorded"}

    def versions(self) -> dict[str, list[str]]:
        """Return every model version given so far, newest first."""
        versions: list[str] = []
        with self._tolerating_store_errors():
            versions = self._store.model_versions()
        return {"versions": versions or [BASE_VERSION]}

    def status(self) -> dict[str, Any]:
        """Return, as JSON, how far the categories of each project are."""
        with self._lock:
            labellings, errors = dict(self._labellings), dict(self._config_errors)
        return {
            "version": BASE_VERSION,
            "built": list(self._precompute.built),
            "projects": {
                project: self._project_status(labellings.get(project), errors.get(project))
                for project in sorted(labellings.keys() | errors.keys())
            },
        }

    def _project_status(self, labelling: Labelling | None, error: str | None) -> dict[str, Any]:
        if labelling is None:
            return {"error": error, "model_version": None, "counts": {}, "categories": []}
        statuses = {category: self._precompute.status(category) for category in labelling.categories}
        return {
            "error": error,
            "model_version": self._version(labelling, self._precompute.ready(labelling.categories)),
            "counts": Counter(status.state for status in statuses.values()),
            "categories": [
                {
                    "name": category.name,
                    "prompts": list(category.phrases),
                    **_kind_fields(self._engine.kind_so_far(category)),
                    "state": status.state,
                    "stage": status.stage,
                    "progress": status.progress,
                    "reason": status.reason,
                }
                for category, status in statuses.items()
            ],
        }

    def _adopt(self, project: str, label_config: str) -> Labelling:
        """Make a label config the one in force: what it lacks is wanted from now on, also after a restart."""
        try:
            labelling = read_labelling(label_config, max_categories=self._settings.prediction.max_categories)
        except UnusableLabelConfigError as error:
            with self._lock:
                self._config_errors[project] = str(error)
            raise
        with self._lock:
            self._labellings[project] = labelling
            self._config_errors.pop(project, None)
        self._precompute.want(project, labelling.categories)
        with self._tolerating_store_errors():
            self._store.save_label_config(project, label_config)
        return labelling

    def _version(self, labelling: Labelling, ready: Mapping[Category, str]) -> str:
        return model_version(
            labelling,
            ready=ready,
            engine_fingerprint=self._engine.fingerprint(),
            output_fingerprint=self._settings.output.fingerprint(),
        )

    def _snapshot(self, labelling: Labelling, deadline_s: float, *, wait_s: float) -> Snapshot:
        """Wait for prototypes, no longer than given, and fix what this request is answered with."""
        self._precompute.wait(labelling.categories, wait_s)
        ready, waiting = self._precompute.standing(labelling.categories)
        return Snapshot(labelling, ready, waiting, self._version(labelling, ready), deadline_s)

    def _refresh_later(self, project_id: int) -> None:
        """Have the label config of a project read from Label Studio soon; asking twice does it once."""
        with self._lock:
            if project_id in self._refreshing:
                return
            self._refreshing.add(project_id)
        self._refresher.submit(self._refresh, project_id)

    def _refresh(self, project_id: int) -> None:
        with self._lock:
            self._refreshing.discard(project_id)
            known = set(self._labellings) | set(self._config_errors)
        if not any(project.split(".")[0] == str(project_id) for project in known):
            return
        try:
            project = self._label_studio.project(project_id)
            if project.uid in known:
                self.setup(project.uid, project.label_config)
        except BackendError as error:
            logger.warning("The changed project %s waits for its next /setup: %s", project_id, error)

    @contextmanager
    def _slot(self) -> Iterator[None]:
        if not (self._slots.acquire(blocking=False) or self._wait_for_slot()):
            count = self._settings.prediction.prediction_slots
            raise BusyError(f"{count} requests for predictions are being answered (OVDIFF_PREDICTION_SLOTS).")
        try:
            yield
        finally:
            self._slots.release()

    def _wait_for_slot(self) -> bool:
        """Return whether a slot came free; only so many may wait that the server has threads left for /health."""
        if not self._waiting.acquire(blocking=False):
            return False
        try:
            return self._slots.acquire(timeout=SLOT_WAIT_S)
        finally:
            self._waiting.release()

    @contextmanager
    def _tolerating_store_errors(self) -> Iterator[None]:
        """Go on if the state file fails: it saves work after a restart, and no prediction depends on it."""
        try:
            yield
        except StoreError as error:
            logger.error("%s", error)


def _kind_fields(decision: KindDecision | None) -> dict[str, str | None]:
    """Return what a category is taken for and who decided; nulls where a model has still to be asked."""
    if decision is None:
        return {"kind": None, "kind_decided_by": None}
    return {"kind": decision.kind, "kind_decided_by": decision.reason}

"""The service without HTTP: it prepares projects, predicts their tasks and records their events.

One request for predictions is answered from one `Snapshot`. Which categories are ready is looked up once for all
tasks of the request, and both the masks and `model_version` follow from it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from backend import __version__
from backend.errors import RequestError, SettingsError, UnusableLabelConfigError
from backend.serving.data_folder import DataFolder
from backend.serving.deleted_tasks import clear_deleted
from backend.serving.events import ACTION_CHARACTERS, event_ids
from backend.serving.figures import Figures
from backend.serving.label_status import LabelStatus, warnings_of
from backend.serving.limit import Limit
from backend.serving.looking import Looking
from backend.serving.on_ray import EnginesOnRay
from backend.serving.predicting.answers import Answers
from backend.serving.predicting.basis import Basis
from backend.serving.predicting.predictions import Item, Snapshot, Task
from backend.serving.prelabelling.background import OFF, Background
from backend.serving.preparing.precompute import Precompute
from backend.serving.preparing.standing import Standing
from backend.serving.projects import Projects, id_of, tolerating_store_errors
from backend.serving.read_back import ReadBack
from backend.serving.readiness import Readiness
from backend.serving.store import Store
from backend.serving.stores import StoreSizes
from backend.serving.teaching.notes import Notes
from backend.serving.teaching.teacher import TRAINING, Teacher
from backend.serving.vocabulary import Labelling, read_labelling
from backend.settings import PredictionSettings, Settings
from backend.sources.images import ImageSource
from backend.sources.label_studio import TOKEN_ADVICE, LabelStudioClient
from ovdiff.engines import SegmentationEngine
from ovdiff.errors import OVDiffError
from ovdiff.vocabulary import Category

logger = logging.getLogger(__name__)

BASE_VERSION = f"ovdiff-{__version__}"

STOP_S = 2.0
"""How long a thread may take to end. With the 5 s that requests in progress have, `docker stop` waits for all: 10 s."""


class Service:
    """The backend of all projects that are connected to it. Threads may share it."""

    def __init__(
        self,
        settings: Settings,
        engine: SegmentationEngine,
        *,
        store: Store,
        images: ImageSource,
        label_studio: LabelStudioClient,
        folder: DataFolder | None = None,
        remote: EnginesOnRay | None = None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Put the parts together. Background threads begin with `start`; `stop` gives the data folder back.

        Raises:
            SettingsError: regions are to be objects, but the engine does not tell objects apart; or whole projects are
                to be predicted or all annotations to teach, but there is no token.
        """
        self._basis = Basis(settings, engine, clock_s, remote)
        self._settings, self._engine = settings, engine
        self._store, self._folder = store, folder
        self._images, self._label_studio = images, label_studio
        self._clock_s = clock_s
        retry_s = settings.prediction.retry_failed_after_s
        self._precompute = Precompute(self._basis.worker, retry_failed_after_s=retry_s)
        if remote is not None:
            remote.queue = lambda: [category for _, category in self._precompute.queue()]
        self._read_back = ReadBack(label_studio, found=self._clear_deleted, clock_s=clock_s)
        self._projects = Projects(
            store,
            self._precompute,
            max_categories=settings.prediction.max_categories,
            ask_about=lambda uid: self._read_back.soon(id_of(uid)),
            clock_s=clock_s,
        )
        self._labels = LabelStatus(engine, self._precompute, self._basis.version)
        noted_images, self._predictions = self._basis.stored_images(images)
        predictor = self._basis.predictor(noted_images, store=self._predictions)
        self._segmentations = predictor.segmentations
        self._answers = Answers(predictor, settings.prediction, clock_s=clock_s)
        self._readiness = Readiness(
            self._basis.worker,
            store,
            settings.bank_dir,
            building_failed=lambda: self._precompute.failed_for_all,
            retry_failed_after_s=retry_s,
            clock_s=clock_s,
        )
        _require_token(settings.prediction, label_studio)
        self._background = (
            Background(self._basis, self, label_studio, images, clock_s=clock_s)
            if settings.prediction.prelabel
            else None
        )
        self._teacher = Teacher(settings, engine, self, label_studio, images, Notes(store), clock_s=clock_s)
        self._stores = StoreSizes(settings.bank_dir, settings.predictions_dir, clock_s=clock_s)
        self.looking = Looking(
            self._projects, label_studio, images, predictor.segmentations, snapshot=self._snapshot, clock_s=clock_s
        )
        """Shows a task to a person as the service sees it."""
        self._told_versions: dict[str, str] = {}  # what /setup answered last, by project
        self._requests = Limit(settings.server.prediction_requests, "requests for predictions")
        self._clicks = Limit(settings.server.click_requests, "clicks")

    @property
    def engine(self) -> SegmentationEngine:
        """The method, for whoever shows or changes what it keeps."""
        return self._engine

    @property
    def precompute(self) -> Precompute:
        """What builds categories in the background, for whoever wants others than the projects do."""
        return self._precompute

    def labellings(self) -> dict[str, Labelling]:
        """Return the content of the label config that is in force for each project that has a usable one."""
        states = self._projects.states().items()
        return {uid: state.labelling for uid, state in states if state.labelling is not None}

    def label_status(self, category: Category) -> dict[str, Any]:
        """Return, as /status says it, how far one label is."""
        return self._labels.of_label(category)

    def standing(self, categories: Collection[Category]) -> Standing:
        """Return which categories are ready, which are still to be built, and which failed."""
        return self._precompute.standing(categories)

    def read_soon(self, project: str) -> None:
        """Have the label config of a known project read from Label Studio. This returns at once."""
        self._read_back.soon(id_of(project))

    def read_now(self, project: str) -> None:
        """Have the label config of a known project read from Label Studio, and wait for that."""
        if (number := id_of(project)) is not None:
            self._read_back.ask(number, self._projects)

    def note_failure(self, project: str, task: int, reason: str | None) -> None:
        """Note why a task has no prediction that nobody asked for; None says that it has one now."""
        if reason is None:
            self._answers.failures.clear(project, task)
        else:
            self._answers.failures.add(project, task, reason)

    def is_busy(self) -> bool:
        """Return whether a request for predictions or a click is being answered, or waits for its turn."""
        return self._requests.in_use > 0 or self._clicks.in_use > 0

    @property
    def images(self) -> ImageSource:
        """What fetches the images of tasks."""
        return self._images

    @property
    def label_studio(self) -> LabelStudioClient:
        """Label Studio, as this service may ask it."""
        return self._label_studio

    def labelling(self, project: str) -> Labelling:
        """Return the content of the label config that is in force for a project.

        Raises:
            RequestError: the project is not known, or no usable label config of it was seen.
        """
        state = self._projects.states().get(project)
        if state is None or state.labelling is None:
            known = ", ".join(self._projects.states()) or "none"
            raise RequestError(f"No labels of a project {project[:60]!r} are known here; known projects: {known}.")
        return state.labelling

    def start(self) -> None:
        """Read the known projects from the state file, and start making the prototypes that they lack."""
        self._projects.start()
        self._precompute.start()
        self._read_back.start(self._projects)
        self._readiness.start()
        self._teacher.start()
        if self._background is not None:
            self._background.start()

    def stop(self) -> None:
        """End the background threads, in at most twice `STOP_S`. A running build ends after the step it is at."""
        self._precompute.stop(timeout_s=0.0)  # told first: its batch may end while the models are waited for
        ends_s = time.monotonic() + 2 * STOP_S
        self._teacher.stop(timeout_s=0.0)
        if self._background is not None:
            self._background.stop(timeout_s=0.0)
        self._predictions.stop()
        self._readiness.stop(timeout_s=STOP_S)
        self._read_back.stop()
        self._precompute.stop(timeout_s=STOP_S)
        self._teacher.stop(timeout_s=max(0.0, ends_s - time.monotonic()))
        if self._background is not None:
            self._background.stop(timeout_s=max(0.0, ends_s - time.monotonic()))
        if self._basis.remote is not None:
            self._basis.remote.stop()
        if self._folder is not None:
            self._folder.release()

    def setup(self, project: str, schema: str, extra_params: object = None) -> dict[str, Any]:
        """Prepare a project: order the prototypes of its new categories, and return its current model version.

        The answer also holds "warnings", if there are any. Label Studio writes them into its own log and shows them
        nowhere; a person sees their short form in the model version.

        Args:
            project: the name that Label Studio gives the project, "<id>.<created at>".
            schema: the label config of the project.
            extra_params: the JSON that was entered when the backend was connected; it is not used.

        While the model version cannot be told, such as because the bank's storage is away, the answer is the last one:
        after an error Label Studio asks this backend for no prediction any more.

        Raises:
            UnusableLabelConfigError: no vocabulary can be made from the label config.
            OVDiffError: the model version cannot be told, and none was told before.
        """
        if extra_params:
            logger.info("Project %s: extra_params are not used by this backend.", project)
        labelling = self._projects.setup(project, schema)
        warnings = warnings_of(labelling)
        try:
            version = self._version(labelling, self._precompute.ready(labelling.categories))
        except OVDiffError as error:
            if project not in self._told_versions:
                raise
            version, warnings = self._told_versions[project], [*warnings, str(error)]
            logger.warning("Project %s: its last model version is kept: %s", project, error)
        self._told_versions[project] = version
        with tolerating_store_errors():
            self._store.save_model_version(project, version)
        return {"model_version": version} | ({"warnings": warnings} if warnings else {})

    def version_of(self, label_config: str) -> str:
        """Return the model version of a label config, whether it is in force or not. This changes nothing.

        Raises:
            UnusableLabelConfigError: no vocabulary can be made from the label config.
        """
        labelling = read_labelling(label_config, max_categories=self._settings.prediction.max_categories)
        return self._version(labelling, self._precompute.ready(labelling.categories))

    def predict(
        self, project: str, tasks: Sequence[Task], label_config: str, context: Mapping[str, Any] | None = None
    ) -> list[Item]:
        """Return exactly one item for each task, in the order of the tasks.

        `backend.serving.predicting.predictions` describes the kinds of item. With a context, the item holds the mask
        that somebody asked for by a click or a rectangle. Such a request does not wait for prototypes.

        The label config decides this answer and no other: /setup says which categories are prepared (see
        `backend.serving.projects`). Only for a project that the service does not know, such as after the state file
        was lost, it also orders prototypes until Label Studio was asked.

        Raises:
            BusyError: too many requests are being answered already.
        """
        asked_s = self._clock_s()
        with self._requests if context is None else self._clicks:
            try:
                labelling = self._projects.of_prediction(project, label_config)
                if context is None:
                    self._precompute.wait(labelling.categories, self._settings.prediction.wait_for_prototypes_s)
                snapshot = self._snapshot(labelling, asked_s)
            except (UnusableLabelConfigError, OVDiffError) as error:  # such as: the bank's storage is away
                return self._answers.refusals(project, tasks, BASE_VERSION, str(error), asked_s)
            if context is not None:
                return self._answers.clicks(project, tasks, context, snapshot)
            return self._answers.predictions(project, tasks, snapshot)

    def event(self, action: str, data: Mapping[str, Any]) -> dict[str, str]:
        """Record an event of Label Studio. This is quick, because a person waits for it.

        Events come without authentication, so nothing that they contain is acted on. When an event says that a
        known project has changed, the label config is read from Label Studio itself, and so is an annotation of a
        project whose annotations teach. Of every event only the ids are stored.
        """
        details, action = event_ids(data), action[:ACTION_CHARACTERS]
        with tolerating_store_errors():
            self._store.add_event(action, details)
        logger.info("Event %r %s", action, details)
        detail = self._have_read(action, details)
        with tolerating_store_errors():
            detail = self._teacher.hear(action, details) or detail
        return {"status": "recorded"} | ({"detail": detail} if detail else {})

    def _have_read(self, action: str, ids: Mapping[str, Any]) -> str:
        """Have read from Label Studio what an event says has changed; return what is told of that, "" for nothing."""
        if action == "TASKS_CREATED" and self._background is not None:
            self._background.soon(ids.get("project", ids.get("project_of_tasks")))
        if action == "TASKS_DELETED":
            for uid in self._projects.states():
                if ids.get("project") in (None, id_of(uid)) and self._answers.failures.tasks(uid):
                    self._read_back.soon(id_of(uid))
        if action != "PROJECT_UPDATED" or "project" not in ids:
            return ""
        self._read_back.soon(ids["project"])
        return "the label config will be read from Label Studio"

    def train(self, project: object) -> dict[str, str]:
        """Have all annotations of a project read from Label Studio, as a start-training click has it.

        Args:
            project: its number, or the name that Label Studio gives it.
        """
        return self.event(TRAINING, {"project": {"id": id_of(project) if isinstance(project, str) else project}})

    def missing(self) -> dict[str, str]:
        """Return what the service lacks to do its work, each with the reason; nothing if it is ready."""
        return self._readiness.missing()

    def versions(self) -> dict[str, list[str]]:
        """Return every model version that /setup has answered so far, newest first."""
        versions: list[str] = []
        with tolerating_store_errors():
            versions = self._store.model_versions()
        return {"versions": versions or [BASE_VERSION]}

    def figures(self) -> Figures:
        """Return the counts and sizes of this moment. Cheap: no category's bank is asked, and no model."""
        segmentations = self._segmentations
        return Figures(
            requests={"predictions": self._requests.in_use, "clicks": self._clicks.in_use},
            answers=self._answers.tally.counts(),
            failed_tasks=len(self._failed_tasks()),
            segmentations=segmentations.tally.counts(),
            remembered_bytes=segmentations.kept_bytes,
            queue=len(self._precompute.queue()),
            builds=self._precompute.figures,
            stores=self._stores.sizes(),
            projects=len(self._projects.states()),
            is_ready=not self._readiness.missing(),
        )

    def status(self) -> dict[str, Any]:
        """Return, as a JSON object, the state of the categories of each project, and the tasks that failed last."""
        projects = {uid: self._labels.of_project(state) for uid, state in self._projects.states().items()}
        return {
            "version": BASE_VERSION,
            "engine": self._engine.preset.engine,
            "preset": self._engine.preset.name,
            "missing": self._readiness.missing(),
            "built": list(self._precompute.built),
            "queue": self._labels.queue(projects),
            "anchors": self._labels.anchors(),
            "prelabelling": OFF if self._background is None else self._background.status(),
            "learning": self._teacher.status(),
            "failed_tasks": self._failed_tasks(),
            "stores": [asdict(size) for size in self._stores.sizes()],
            "projects": projects,
        }

    def _clear_deleted(self, project: str) -> None:
        clear_deleted(self._label_studio, project, self._answers.failures)

    def _failed_tasks(self) -> list[dict[str, Any]]:
        """Return the tasks that failed last, without those of projects that are forgotten."""
        known = self._projects.states()
        return [failed for failed in self._answers.failures.newest_first() if failed["project"] in known]

    def _version(self, labelling: Labelling, ready: Mapping[Category, str]) -> str:
        return self._basis.version(labelling, ready)

    def _snapshot(self, labelling: Labelling, asked_s: float) -> Snapshot:
        """Return the snapshot from which a request is answered that came at `asked_s`."""
        standing = self._precompute.standing(labelling.categories)
        until_s = asked_s + self._settings.prediction.answer_within_s
        return self._basis.snapshot(labelling, standing, asked_s=asked_s, until_s=until_s)


def _require_token(settings: PredictionSettings, label_studio: LabelStudioClient) -> None:
    for name, wanted in (("OVDIFF_PRELABEL", settings.prelabel), ("OVDIFF_LEARN", settings.learn)):
        if wanted and not label_studio.has_token:
            raise SettingsError(f"{name}=yes needs LABEL_STUDIO_API_KEY, which is not set. {TOKEN_ADVICE}")

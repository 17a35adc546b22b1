"""The HTTP side: Label Studio 1.23.2's machine-learning protocol on Flask.

    GET  /health     answers that the service is up (liveness); looks at nothing, and has a thread of its own
    GET  /ready      whether the models load and the disk can be written (readiness): 200, or 503 with what is missing
    POST /setup      a project and its label config -> model_version
    POST /predict    tasks -> one item for each task
    POST /webhook    an event of a project
    POST /train      all annotations of a project teach, as label-studio-ml has it; Label Studio sends an event instead
    GET  /versions   the model versions that /setup has answered so far
    GET  /status     the state of the categories of each project (not part of Label Studio's protocol)
    GET  /metrics    counts, durations and sizes, as Prometheus reads them (neither)

What people look at in a browser, at / and below /page/, is in `backend.pages`; whoever makes the application adds it.

Once a user and a password are set, every route except /webhook and /ready asks for HTTP Basic
authentication (and /metrics, where OVDIFF_OPEN_METRICS=yes). /health
asks too, because by its answer Label Studio tells a person that the password is wrong; what only asks whether the
process lives takes a 401 for life. Probes of Docker and Kubernetes carry no password, so /ready needs none, and says
without it what is missing, but not why. Label Studio sends
events of annotations and projects without the credentials that it uses everywhere else, so a backend that asked for
them would receive no event. A secret in the address would not help either: Label Studio shows addresses in its
settings and logs. Instead /webhook does nothing that a stranger could exploit: of an event of any length it reads the
first few kB (`backend.serving.events`), it stores a limited number of ids, and it makes the service ask Label Studio
itself about projects that it already knows.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from flask import Flask, Response, jsonify, request

from backend.engine import make_engine, tell_default
from backend.serving.data_folder import DataFolder
from backend.serving.http import bodies
from backend.serving.http.authentication import add_authentication, may_ask
from backend.serving.http.error_answers import add_error_answers, error_answer
from backend.serving.http.metrics import add_metrics
from backend.serving.http.request_ids import add_request_ids
from backend.serving.on_ray import EnginesOnRay
from backend.serving.service import Service
from backend.serving.store import Store
from backend.settings import ServerSettings, Settings
from backend.sources.fetch import Fetcher
from backend.sources.images import ImageSource
from backend.sources.label_studio import LabelStudioClient
from ovdiff.bank import Bank
from ovdiff.engines import SegmentationEngine, load_any_preset

AddRoutes = Callable[[Flask, Settings], None]
"""Adds routes of another room to the application, such as `backend.pages.blueprint.add_pages`."""


def create_app(
    settings: Settings, engine: SegmentationEngine | None = None, *, add_pages: AddRoutes | None = None
) -> Flask:
    """Put the service together and start its background threads.

    The `Service` is at `app.extensions["ovdiff"]`; call its `stop` at the end.

    Args:
        settings: see `backend.settings`.
        engine: the method. If None, an engine is made from the preset and the data folder of the settings; it loads
            the weights when they are first used.
        add_pages: adds what people look at in a browser; without it there are only the routes for programs.

    Raises:
        DataFolderError: another backend uses the data folder, or nothing can be written there.
        StoreError: the state file cannot be read or written.
        PresetError: there is no such preset, or it is not valid.
        SettingsError: torch cannot use the device.
    """
    folder = DataFolder(settings.data_dir)
    try:
        service = _service(settings, engine, folder)
    except BaseException:
        folder.release()
        raise
    app = Flask("ovdiff")
    app.config["MAX_CONTENT_LENGTH"] = settings.server.max_body_bytes
    app.extensions["ovdiff"] = service
    add_request_ids(app)
    add_metrics(app, service)
    add_authentication(app, settings.server)
    _add_routes(app, service)
    _add_probes(app, service, settings.server)
    add_error_answers(app)
    if add_pages is not None:
        add_pages(app, settings)
    service.start()
    return app


def _service(settings: Settings, engine: SegmentationEngine | None, folder: DataFolder) -> Service:
    label_studio = LabelStudioClient(settings.label_studio)
    engine = _own_engine(settings) if engine is None else engine
    bank = Bank(settings.bank_dir)
    return Service(
        settings,
        engine,
        store=Store(settings.state_file, event_rows=settings.prediction.event_rows),
        images=ImageSource(Fetcher(label_studio, settings.images)),
        label_studio=label_studio,
        folder=folder,
        remote=EnginesOnRay(engine, bank, settings.device, settings.ray) if settings.ray.ray else None,
    )


def _own_engine(settings: Settings) -> SegmentationEngine:
    engine = make_engine(load_any_preset(settings.preset), Bank(settings.bank_dir), settings.device)
    tell_default(settings.preset)
    return engine


def health_answer() -> Response:
    """Return what /health answers: the process lives, and is an ML backend."""
    return jsonify(status="UP", model_class="OVDiff")


def _add_probes(app: Flask, service: Service, settings: ServerSettings) -> None:
    @app.get("/health")
    def health() -> Response:
        return health_answer()

    @app.get("/ready")
    def ready() -> Response:
        missing = service.missing()
        if not missing:
            return jsonify(status="READY", missing={})
        if not may_ask(settings, request.headers.get("Authorization")):
            missing = dict.fromkeys(missing, "the password shows why")
        reasons = "; ".join(f"{name}: {reason}" for name, reason in missing.items())
        return error_answer(HTTPStatus.SERVICE_UNAVAILABLE, f"Not ready. {reasons}", missing=missing)


def _add_routes(app: Flask, service: Service) -> None:
    @app.post("/setup")
    def setup() -> Response:
        body = bodies.json_object()
        project, schema = bodies.project(body), bodies.text(body, "schema")
        return jsonify(service.setup(project, schema, body.get("extra_params")))

    @app.post("/predict")
    def predict() -> Response:
        body = bodies.json_object()
        project, label_config = bodies.project(body), bodies.text(body, "label_config")
        return jsonify(results=service.predict(project, bodies.tasks(body), label_config, bodies.context(body)))

    @app.post("/webhook")
    def webhook() -> Response:
        body = bodies.json_event()
        return jsonify(service.event(bodies.text(body, "action"), body))

    @app.post("/train")
    def train() -> Response:
        project = bodies.json_object().get("project")
        return jsonify(service.train(project.get("id") if isinstance(project, dict) else project))

    @app.get("/versions")
    def versions() -> Response:
        return jsonify(service.versions())

    @app.get("/status")
    def status() -> Response:
        return jsonify(service.status())

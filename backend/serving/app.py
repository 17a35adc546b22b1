"""The HTTP side: Label Studio 1.23.2's machine-learning protocol on Flask.

    GET  /health     answers that the service is up; loads no model
    POST /setup      a project and its label config -> model_version
    POST /predict    tasks -> one item for each task
    POST /webhook    an event of a project
    GET  /versions   the model versions that /setup has answered so far
    GET  /status     the state of the categories of each project (not part of Label Studio's protocol)

Once a user and a password are set, every route except /webhook asks for HTTP Basic authentication. Label Studio sends
events of annotations and projects without the credentials that it uses everywhere else, so a backend that asked for
them would receive no event. A secret in the address would not help either: Label Studio shows addresses in its
settings and logs. Instead /webhook does nothing that a stranger could exploit: of an event of any length it reads the
first few kB (`backend.serving.events`), it stores a limited number of ids, and it makes the service ask Label Studio
itself about projects that it already knows.
"""

from __future__ import annotations

from flask import Flask, Response, jsonify

from backend.engine import make_engine, tell_default
from backend.serving import bodies
from backend.serving.authentication import add_authentication
from backend.serving.error_answers import add_error_answers
from backend.serving.service import Service
from backend.serving.store import Store
from backend.settings import Settings
from backend.sources.fetch import Fetcher
from backend.sources.images import ImageSource
from backend.sources.label_studio import LabelStudioClient
from ovdiff.bank import Bank
from ovdiff.engines import SegmentationEngine, load_any_preset


def create_app(settings: Settings, engine: SegmentationEngine | None = None) -> Flask:
    """Put the service together and start its background threads.

    The `Service` is at `app.extensions["ovdiff"]`; call its `stop` at the end.

    Args:
        settings: see `backend.settings`.
        engine: the method. If None, an engine is made from the preset and the data folder of the settings; it loads
            the weights when they are first used.

    Raises:
        StoreError: the state file cannot be read or written.
        PresetError: there is no such preset, or it is not valid.
        SettingsError: torch cannot use the device.
    """
    label_studio = LabelStudioClient(settings.label_studio)
    service = Service(
        settings,
        _own_engine(settings) if engine is None else engine,
        store=Store(settings.state_file, event_rows=settings.prediction.event_rows),
        images=ImageSource(Fetcher(label_studio, settings.images)),
        label_studio=label_studio,
    )
    app = Flask("ovdiff")
    app.config["MAX_CONTENT_LENGTH"] = settings.server.max_body_bytes
    app.extensions["ovdiff"] = service
    add_authentication(app, settings.server)
    _add_routes(app, service)
    add_error_answers(app)
    service.start()
    return app


def _own_engine(settings: Settings) -> SegmentationEngine:
    engine = make_engine(load_any_preset(settings.preset), Bank(settings.bank_dir), settings.device)
    tell_default(settings.preset)
    return engine


def _add_routes(app: Flask, service: Service) -> None:
    @app.get("/health")
    def health() -> Response:
        return jsonify(status="UP", model_class="OVDiff")

    @app.post("/setup")
    def setup() -> Response:
        body = bodies.json_object()
        project, schema = bodies.text(body, "project"), bodies.text(body, "schema")
        return jsonify(service.setup(project, schema, body.get("extra_params")))

    @app.post("/predict")
    def predict() -> Response:
        body = bodies.json_object()
        project, label_config = bodies.text(body, "project"), bodies.text(body, "label_config")
        return jsonify(results=service.predict(project, bodies.tasks(body), label_config, bodies.context(body)))

    @app.post("/webhook")
    def webhook() -> Response:
        body = bodies.json_event()
        return jsonify(service.event(bodies.text(body, "action"), body))

    @app.get("/versions")
    def versions() -> Response:
        return jsonify(service.versions())

    @app.get("/status")
    def status() -> Response:
        return jsonify(service.status())

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
settings and logs. Instead /webhook does nothing that a stranger could exploit: it stores a limited number of ids, and
it makes the service ask Label Studio itself about projects that it already knows.

Errors are JSON, `{"error": "..."}`, without tracebacks. The message is repeated in the status line, because Label
Studio shows nothing else of a failed /setup.
"""

from __future__ import annotations

import hmac
import logging
import os
import signal
import threading
import uuid
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException

from backend.engine import make_engine, tell_default
from backend.errors import BusyError, ListenError, RequestError
from backend.serving.service import Service
from backend.serving.store import Store
from backend.settings import ServerSettings, Settings
from backend.sources.fetch import Fetcher
from backend.sources.images import ImageSource
from backend.sources.label_studio import LabelStudioClient
from ovdiff.bank import Bank
from ovdiff.engines import SegmentationEngine, load_any_preset

logger = logging.getLogger(__name__)

REASON_CHARACTERS = 300
OPEN_ENDPOINTS = frozenset({"webhook"})


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
    _add_authentication(app, settings.server)
    _add_routes(app, service)
    _add_error_answers(app)
    service.start()
    return app


def _own_engine(settings: Settings) -> SegmentationEngine:
    engine = make_engine(load_any_preset(settings.preset), Bank(settings.bank_dir), settings.device)
    tell_default(settings.preset)
    return engine


def serve(settings: Settings) -> None:
    """Answer requests until Ctrl-C or SIGTERM ends the service.

    Raises:
        ListenError: the address or port is taken or not allowed.
    """
    # SIGTERM: as the first process of a container nothing would end the service, because the kernel keeps the default
    # of SIGTERM from process 1. SIGINT: a shell script starts its background jobs with SIGINT ignored; a Ctrl-C would
    # end the script and leave the service. SIGHUP keeps what the service was started with: a closed terminal ends it,
    # which loses nothing because files are written whole or not at all; and who uses nohup wants it to go on.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)
    app = create_app(settings)
    try:
        server = _listen(app, settings.server)
        logger.info(
            "Listening on http://%s:%d, data in %s.", settings.server.host, settings.server.port, settings.data_dir
        )
        server.run()
    finally:
        app.extensions["ovdiff"].stop()
    _end_despite_busy_threads()


def _listen(app: Flask, settings: ServerSettings) -> Any:
    """Return a waitress server that is bound to its port."""
    import waitress

    try:
        return waitress.create_server(
            app,
            host=settings.host,
            port=settings.port,
            threads=settings.threads,
            max_request_body_size=settings.max_body_bytes,
            ident="ovdiff",
        )
    except (OSError, ValueError) as error:
        address = f"{settings.host}:{settings.port}"
        raise ListenError(f"Cannot listen on {address} (OVDIFF_HOST, OVDIFF_PORT): {error}.") from error


def _end_despite_busy_threads() -> None:
    """End the process at once if a thread is still inside a model: Python's own shutdown would unload torch and abort.

    Nothing is lost: prototypes and the state file are written whole or not at all.
    """
    if any(thread is not threading.main_thread() for thread in threading.enumerate()):
        logging.shutdown()
        os._exit(0)


def _add_routes(app: Flask, service: Service) -> None:
    @app.get("/health")
    def health() -> Response:
        return jsonify(status="UP", model_class="OVDiff")

    @app.post("/setup")
    def setup() -> Response:
        body = _json_object()
        project, schema = _text(body, "project"), _text(body, "schema")
        return jsonify(service.setup(project, schema, body.get("extra_params")))

    @app.post("/predict")
    def predict() -> Response:
        body = _json_object()
        project, label_config = _text(body, "project"), _text(body, "label_config")
        return jsonify(results=service.predict(project, _tasks(body), label_config, _context(body)))

    @app.post("/webhook")
    def webhook() -> Response:
        body = _json_object()
        return jsonify(service.event(_text(body, "action"), body))

    @app.get("/versions")
    def versions() -> Response:
        return jsonify(service.versions())

    @app.get("/status")
    def status() -> Response:
        return jsonify(service.status())


def _add_authentication(app: Flask, settings: ServerSettings) -> None:
    @app.before_request
    def authenticate() -> Response | None:
        if not settings.requires_password or request.endpoint in OPEN_ENDPOINTS or _knows_password(settings):
            return None
        response = _error(HTTPStatus.UNAUTHORIZED, "Wrong or missing user and password (HTTP Basic).")
        response.headers["WWW-Authenticate"] = 'Basic realm="ovdiff"'
        return response


def _knows_password(settings: ServerSettings) -> bool:
    """Return whether the request carries the user and the password.

    Both are always compared, in constant time, so that the duration of an answer says nothing about either.
    """
    given = request.authorization
    user = (given.username if given and given.type == "basic" else None) or ""
    password = (given.password if given and given.type == "basic" else None) or ""
    is_user = hmac.compare_digest(user.encode(), settings.basic_user.encode())
    is_password = hmac.compare_digest(password.encode(), settings.basic_password.encode())
    return is_user and is_password


def _add_error_answers(app: Flask) -> None:
    @app.errorhandler(RequestError)
    def unusable(error: RequestError) -> Response:
        logger.warning("%s %s: %s", request.method, request.path, error)
        return _error(HTTPStatus.BAD_REQUEST, str(error))

    @app.errorhandler(BusyError)
    def busy(error: BusyError) -> Response:
        logger.warning("%s %s: %s", request.method, request.path, error)
        response = _error(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        response.headers["Retry-After"] = "10"
        return response

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> Response:
        return _error(error.code or HTTPStatus.INTERNAL_SERVER_ERROR, error.description or error.name)

    @app.errorhandler(Exception)
    def unexpected(error: Exception) -> Response:
        number = uuid.uuid4().hex[:8]
        logger.error("Error %s in %s %s", number, request.method, request.path, exc_info=error)
        return _error(HTTPStatus.INTERNAL_SERVER_ERROR, f"Internal error {number}; the service's log has it.")


def _error(status: int, message: str) -> Response:
    """Return a JSON error whose status line carries the message too."""
    response = jsonify(error=message)
    reason = "".join(character if " " <= character <= "~" else " " for character in message)
    response.status = f"{int(status)} {reason[:REASON_CHARACTERS]}"
    return response


def _json_object() -> dict[str, Any]:
    """Return the body of the request, which must be a JSON object with the content type of JSON.

    The content type keeps web pages out: a browser sends JSON to another site only with the consent of that site.
    """
    body = request.get_json()
    if not isinstance(body, dict):
        raise RequestError(f"The body is {type(body).__name__}, expected a JSON object.")
    return body


def _text(body: Mapping[str, Any], key: str) -> str:
    value = body.get(key)
    if not isinstance(value, str) or not value:
        raise RequestError(f"The body has {value!r:.80} for {key!r}, expected a text.")
    return value


def _tasks(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    tasks = body.get("tasks")
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise RequestError("The body's 'tasks' are no list of objects.")
    return list(tasks)


def _context(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the context of a click or rectangle that asks for a mask; None in requests for whole predictions."""
    params = body.get("params") or {}
    context = params.get("context") if isinstance(params, dict) else None
    if context is not None and not isinstance(context, dict):
        raise RequestError(f"params.context is {type(context).__name__}, expected an object or null.")
    return context

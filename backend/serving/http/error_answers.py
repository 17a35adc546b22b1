"""The answers to what went wrong: JSON, `{"error": "..."}`, without tracebacks.

The message is repeated in the status line, because Label Studio shows nothing else of a failed /setup.
"""

from __future__ import annotations

import logging
import uuid
from http import HTTPStatus

from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException, NotFound, RequestEntityTooLarge

from backend.errors import BusyError, RequestError
from ovdiff.errors import OVDiffError

logger = logging.getLogger(__name__)

REASON_CHARACTERS = 300
PATH_CHARACTERS = 100
_WHAT_THIS_IS = (  # a person who opens the backend's address in a browser reads it
    "This is an ML backend: give Label Studio its address in the project's Settings > Model. "
    "A person may look at /, a program at /health, /ready, /status and /metrics."
)


def add_error_answers(app: Flask) -> None:
    """Have every exception answered: what a person can mend by its message, what is a bug by a number in the log."""

    @app.errorhandler(RequestError)
    def unusable(error: RequestError) -> Response:
        logger.warning("%s: %s", _asked(), error)
        return error_answer(HTTPStatus.BAD_REQUEST, str(error))

    @app.errorhandler(BusyError)
    def busy(error: BusyError) -> Response:
        logger.warning("%s: %s", _asked(), error)
        response = error_answer(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        response.headers["Retry-After"] = "10"
        return response

    @app.errorhandler(OVDiffError)
    def cannot_now(error: OVDiffError) -> Response:
        logger.error("%s: %s", _asked(), error)
        return error_answer(HTTPStatus.SERVICE_UNAVAILABLE, str(error))

    @app.errorhandler(NotFound)
    def not_found(error: NotFound) -> Response:
        return error_answer(
            HTTPStatus.NOT_FOUND, f"There is nothing at {request.path[:PATH_CHARACTERS]}. {_WHAT_THIS_IS}"
        )

    @app.errorhandler(RequestEntityTooLarge)
    def too_large(_: RequestEntityTooLarge) -> Response:
        most = app.config["MAX_CONTENT_LENGTH"]
        message = f"The body has {request.content_length} bytes, more than {most} (OVDIFF_MAX_BODY_BYTES)."
        logger.warning("%s: %s", _asked(), message)
        return error_answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message)

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> Response:
        return error_answer(error.code or HTTPStatus.INTERNAL_SERVER_ERROR, error.description or error.name)

    @app.errorhandler(Exception)
    def unexpected(error: Exception) -> Response:
        return error_answer(HTTPStatus.INTERNAL_SERVER_ERROR, unexpected_message(error))


def unexpected_message(error: Exception) -> str:
    """Log an error that nobody foresaw, and return what is told of it: the number by which the log has it."""
    number = uuid.uuid4().hex[:8]
    logger.error("Error %s in %s", number, _asked(), exc_info=error)
    return f"Internal error {number}; the service's log has it."


def error_answer(status: int, message: str, **fields: object) -> Response:
    """Return a JSON error, with further fields, whose status line carries the message too."""
    response = jsonify(error=message, **fields)
    reason = "".join(character if " " <= character <= "~" else " " for character in message)
    response.status = f"{int(status)} {reason[:REASON_CHARACTERS]}"
    return response


def _asked() -> str:
    """Return what was asked for, as a line of the log has it: a path is as long as the client likes."""
    return f"{request.method} {request.path[:PATH_CHARACTERS]}"

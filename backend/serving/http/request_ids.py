"""A number for each request: it is in the answer's header, and behind each line that the request leaves in the log."""

from __future__ import annotations

import re
import uuid

from flask import Flask, Response, request

from backend.logs import REQUEST_ID

HEADER = "X-Request-ID"
_GIVEN = re.compile(r"[A-Za-z0-9._-]{1,64}")


def add_request_ids(app: Flask) -> None:
    """Number the requests of an application; a proxy's own number is kept, if it could stand in a log."""

    @app.before_request
    def begin() -> None:
        given = request.headers.get(HEADER, "")
        REQUEST_ID.set(given if _GIVEN.fullmatch(given) else uuid.uuid4().hex[:12])

    @app.after_request
    def tell(response: Response) -> Response:
        response.headers[HEADER] = REQUEST_ID.get()
        return response

    @app.teardown_request
    def end(_error: BaseException | None) -> None:
        REQUEST_ID.set("")  # the thread goes on to other work

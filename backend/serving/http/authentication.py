"""Who may ask: HTTP Basic authentication, on every route but those that need none."""

from __future__ import annotations

import hmac
from http import HTTPStatus

from flask import Flask, Response, request
from werkzeug.datastructures import Authorization

from backend.serving.http.error_answers import error_answer
from backend.settings import ServerSettings

OPEN_ENDPOINTS = frozenset({"webhook", "ready"})
"""Label Studio sends no password to /webhook, and probes send none to /ready: `backend.serving.http.app` says why."""


def add_authentication(app: Flask, settings: ServerSettings) -> None:
    """Have every route ask for the password of the settings, if they have one."""
    open_endpoints = OPEN_ENDPOINTS | ({"metrics"} if settings.open_metrics else set())

    @app.before_request
    def authenticate() -> Response | None:
        if request.endpoint in open_endpoints or may_ask(settings, request.headers.get("Authorization")):
            return None
        response = error_answer(HTTPStatus.UNAUTHORIZED, "Wrong or missing user and password (HTTP Basic).")
        response.headers["WWW-Authenticate"] = 'Basic realm="ovdiff"'
        return response


def may_ask(settings: ServerSettings, authorization: str | None) -> bool:
    """Return whether no password is needed, or an Authorization header carries the user and the password.

    Both are always compared, in constant time, so that the duration of an answer says nothing about either.
    """
    if not settings.requires_password:
        return True
    try:
        given = Authorization.from_header(authorization)
    except ValueError:  # other characters than those of base64
        return False
    user = (given.username if given and given.type == "basic" else None) or ""
    password = (given.password if given and given.type == "basic" else None) or ""
    is_user = hmac.compare_digest(user.encode(), settings.basic_user.encode())
    is_password = hmac.compare_digest(password.encode(), settings.basic_password.encode())
    return is_user and is_password

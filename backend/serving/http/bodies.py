"""The bodies of requests: read as JSON within limits, and what the routes need of them, in the form they expect."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from reprlib import Repr
from typing import Any, NoReturn

from flask import request
from werkzeug.exceptions import UnsupportedMediaType

from backend.errors import RequestError
from backend.serving.events import EVENT_BYTES, read_head
from backend.serving.http.authentication import may_ask
from backend.settings import ServerSettings

MAX_CONTAINERS = 1_000_000
"""Objects and lists in one body: a batch with 100 polygons of 200 vertices in each of 40 tasks has 0.8 million. Each
takes some 100 bytes, and Python's collector of garbage looks through all of them again and again."""

PAGES = "/page/"
"""Below this path are the pages for people: `backend.pages`."""

PROJECT_CHARACTERS = 200
"""Label Studio's name of a project, "<id>.<created at>", has some 20. Each request's line in the log begins with it."""

_WHOLE_BODIES = frozenset({"/setup", "/predict"})


def kept_bytes(settings: ServerSettings) -> Callable[[str, Mapping[str, str]], int | None]:
    """Return the rule of how many bytes of a body are kept, by a request's path and headers; None means all.

    A body that no route reads, or that comes without the password, is thrown away before it takes memory or disk.
    """

    def kept(path: str, headers: Mapping[str, str]) -> int | None:
        if path == "/webhook":
            return EVENT_BYTES
        is_read = path in _WHOLE_BODIES or path.startswith(PAGES)
        return None if is_read and may_ask(settings, headers.get("AUTHORIZATION")) else 0

    return kept


def json_object() -> dict[str, Any]:
    """Return the body of the request, which must be a JSON object with the content type of JSON.

    The content type keeps web pages out: a browser sends JSON to another site only with the consent of that site.

    Raises:
        RequestError: the body is no such object, or is nested or divided beyond measure.
        UnsupportedMediaType: the content type is another.
    """
    _require_json()
    body = request.get_data(cache=False)
    containers = body.count(b"[") + body.count(b"{")
    if containers > MAX_CONTAINERS:
        raise RequestError(f"The body holds {containers} lists and objects, more than {MAX_CONTAINERS}.")
    try:
        parsed = json.loads(body, parse_constant=_refuse_constant)
    except RecursionError:
        raise RequestError("The body's JSON is nested too deep to be read.") from None
    except ValueError as error:  # no JSON, no Unicode, or a number of thousands of digits
        raise RequestError(f"The body is not JSON that can be read: {error}.") from None
    return _object(parsed)


def json_event() -> dict[str, Any]:
    """Return what the first bytes of an event say, however long it is; see `backend.serving.events`.

    Raises:
        RequestError: they are no beginning of a JSON object, or nested beyond measure.
        UnsupportedMediaType: the content type is another.
    """
    _require_json()
    return _object(read_head(request.stream.read(EVENT_BYTES)))


def text(body: Mapping[str, Any], key: str) -> str:
    """Return a text of the body.

    Raises:
        RequestError: it is missing, empty, no text, or no Unicode.
    """
    value = body.get(key)
    if not isinstance(value, str) or not value:
        raise RequestError(f"The body has {shown(value)} for {key!r}, expected a text.")
    if not is_unicode(value):
        raise RequestError(f"The body's {key!r} holds half of a surrogate pair, which is no character: {shown(value)}.")
    return value


def project(body: Mapping[str, Any]) -> str:
    """Return the name of the project that a body is about.

    Raises:
        RequestError: it is no text, or longer than `PROJECT_CHARACTERS`.
    """
    name = text(body, "project")
    if len(name) > PROJECT_CHARACTERS:
        raise RequestError(
            f"The body's 'project' has {len(name)} characters, more than {PROJECT_CHARACTERS}: {shown(name)}. "
            "Send the name that Label Studio gives the project, '<id>.<created at>'."
        )
    return name


def tasks(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the tasks of a request for predictions.

    Raises:
        RequestError: they are no list of objects.
    """
    given = body.get("tasks")
    if not isinstance(given, list) or not all(isinstance(task, dict) for task in given):
        raise RequestError("The body's 'tasks' are no list of objects.")
    return list(given)


def context(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the context of a click or rectangle that asks for a mask; None in requests for whole predictions.

    Raises:
        RequestError: it is neither an object nor null.
    """
    params = body.get("params") or {}
    given = params.get("context") if isinstance(params, dict) else None
    if given is not None and not isinstance(given, dict):
        raise RequestError(f"params.context is {type(given).__name__}, expected an object or null.")
    return given


def shown(value: object) -> str:
    """Return a value for a message: short, and without looking into the depth of it."""
    brief = Repr()
    brief.maxlevel = brief.maxdict = brief.maxlist = 2
    brief.maxstring = brief.maxother = 60
    return brief.repr(value)


def is_unicode(value: str) -> bool:
    """Return whether a text can be written as UTF-8: JSON can carry halves of surrogate pairs, which cannot."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _require_json() -> None:
    if not request.is_json:
        raise UnsupportedMediaType(
            f"The content type is {request.content_type!r:.80}; send JSON with Content-Type: application/json."
        )


def _object(parsed: object) -> dict[str, Any]:
    if not isinstance(parsed, dict):
        raise RequestError(f"The body is {type(parsed).__name__}, expected a JSON object.")
    return parsed


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")

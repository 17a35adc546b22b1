"""This service as a client of Label Studio: it authenticates, reads projects and tasks, and writes predictions.

Label Studio has two kinds of token. A legacy token is sent unchanged (`Token <key>`). A personal access token is a JWT
and would be refused if it were sent unchanged: it must be exchanged at `/api/token/refresh/` for an access token that
lasts five minutes. The form of `LABEL_STUDIO_API_KEY` tells which kind of token it is.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from textwrap import shorten
from typing import Any, Literal
from urllib.parse import urlencode

import urllib3

from backend.errors import (
    LabelStudioAPIError,
    LabelStudioDownError,
    LabelStudioRefusedError,
    LabelStudioSlowError,
    LabelStudioTimeoutError,
    NoAnswerError,
    NoSuchProjectError,
)
from backend.settings import LabelStudioSettings
from backend.sources.deadline import Deadline
from backend.sources.transport import Network, Request, Transport, read_body
from backend.sources.web_url import WebUrl
from converters.files.redaction import without_user

logger = logging.getLogger(__name__)

RENEW_BEFORE_S = 30.0  # an access token must outlive the download that uses it
DEFAULT_LIFETIME_S = 300.0  # of an access token without dates; Label Studio 1.23.2 gives its tokens this lifetime
ANSWER_WITHIN_S = 10.0  # Label Studio 1.23.2 answers for a project in well under a second
MOST_ANSWER_BYTES = 32 * 2**20  # a project's JSON holds its label config three times over
GATEWAY_TIMEOUTS = (504, 524)  # of proxies: the server behind may still be at work
MOST_REASON_BYTES = 64 * 1024  # of a refusal, which repeats what it refuses
REASON_CHARACTERS = 300


TokenKind = Literal["legacy", "personal"]


@dataclass(frozen=True)
class Project:
    """A project as Label Studio describes it; `uid` is the project's name in /setup and /predict."""

    uid: str
    label_config: str


@dataclass(frozen=True)
class Answer:
    """The JSON object that Label Studio answered, and how many bytes it was."""

    body: dict[str, Any]
    size_bytes: int


@dataclass(frozen=True)
class _Access:
    token: str
    expires_at_s: float


class _UnauthorizedError(LabelStudioAPIError):
    """Label Studio does not know the token, and has done nothing."""


class LabelStudioClient:
    """Requests to one Label Studio as one user. Threads may share it."""

    def __init__(
        self,
        settings: LabelStudioSettings,
        *,
        transport: Transport | None = None,
        clock_s: Callable[[], float] = time.monotonic,
        answer_within_s: float = ANSWER_WITHIN_S,
    ) -> None:
        """Remember the address and the token; no request is sent yet.

        Args:
            settings: the address and the token.
            transport: what sends requests (None: the network).
            clock_s: a clock in seconds.
            answer_within_s: the time for one answer, from the look-up of the name to the last byte.
        """
        self.base_url = settings.url.rstrip("/")
        self._key = settings.api_key
        self._transport = Network() if transport is None else transport
        self._clock_s = clock_s
        self._answer_within_s = answer_within_s
        self._access: _Access | None = None
        self._lock = threading.Lock()

    @property
    def has_token(self) -> bool:
        """Whether a token is set."""
        return bool(self._key)

    @property
    def token_kind(self) -> TokenKind | None:
        """The kind of the token, by its form; None if none is set."""
        if not self._key:
            return None
        return "personal" if _is_jwt(self._key) else "legacy"

    def owns(self, url: WebUrl) -> bool:
        """Return whether a URL leads to this Label Studio, by its scheme, host and port.

        Raises:
            LabelStudioAPIError: LABEL_STUDIO_URL is no URL.
        """
        return url.origin == self._url("").origin

    def authorization(self, deadline: Deadline | None = None) -> dict[str, str]:
        """Return the header that authenticates this service; no header if no token is set.

        A personal access token is exchanged when no access token is left that lasts another half minute.

        Args:
            deadline: of what the header is for; the exchange has no more time than that (None: `answer_within_s`).

        Raises:
            LabelStudioAPIError: the exchange failed, or one that another thread began takes too long.
        """
        if not self._key:
            return {}
        if not _is_jwt(self._key):
            return {"Authorization": f"Token {self._key}"}
        deadline = self._deadline() if deadline is None else deadline.or_within(self._answer_within_s)
        if not self._lock.acquire(timeout=_left_s(deadline)):
            raise LabelStudioSlowError("Label Studio was asked for an access token, and did not answer in time.")
        try:
            if self._access is None or self._clock_s() > self._access.expires_at_s - RENEW_BEFORE_S:
                self._access = self._exchange(deadline)
            return {"Authorization": f"Bearer {self._access.token}"}
        finally:
            self._lock.release()

    def forget_access(self) -> None:
        """Drop the access token, for example because it was refused; the next request obtains a new token."""
        with self._lock:
            self._access = None

    def project(self, project_id: int) -> Project:
        """Return the current state of a project in Label Studio.

        Raises:
            NoSuchProjectError: there is no such project, or none that the token's user may see.
            LabelStudioAPIError: no token is set, or Label Studio refused or did not answer.
        """
        body = self.get(f"/api/projects/{project_id}/").body
        url = f"{self.base_url}/api/projects/{project_id}/"
        try:
            created_at = datetime.fromisoformat(body["created_at"])
            return Project(f"{body['id']}.{int(created_at.timestamp())}", str(body["label_config"]))
        except (KeyError, TypeError, ValueError) as error:
            raise LabelStudioAPIError(f"{url} did not answer with a project ({error!r}).") from error

    def get(
        self,
        path: str,
        params: Mapping[str, str | int] | None = None,
        *,
        answer_within_s: float | None = None,
        most_bytes: int = MOST_ANSWER_BYTES,
    ) -> Answer:
        """Ask for a JSON object.

        Args:
            path: the path below the address of Label Studio.
            params: the query of the request.
            answer_within_s: the time for the whole answer (None: that of this client).
            most_bytes: the bytes of the answer.

        Raises:
            NoSuchProjectError: Label Studio answered 404.
            LabelStudioSlowError: Label Studio failed (5xx), took too long, or answered with more bytes.
            LabelStudioAPIError: no token is set, or Label Studio refused or did not answer.
        """
        target = f"{path}?{urlencode(params)}" if params else path
        return self._call("GET", target, answer_within_s=answer_within_s, most_bytes=most_bytes)

    def post(self, path: str, body: object, *, answer_within_s: float | None = None) -> Answer:
        """Send JSON, and return the JSON object that is answered.

        Raises:
            LabelStudioRefusedError: Label Studio does not take it; the message says why.
            NoSuchProjectError, LabelStudioAPIError: for the reasons that `get` names.
        """
        return self._call("POST", path, body=json.dumps(body).encode(), answer_within_s=answer_within_s)

    def patch(self, path: str, body: object) -> Answer:
        """Change what is at a path by JSON, and return the JSON object that is answered.

        Raises:
            LabelStudioRefusedError: Label Studio does not take it; the message says why.
            NoSuchProjectError, LabelStudioAPIError: for the reasons that `get` names.
        """
        return self._call("PATCH", path, body=json.dumps(body).encode())

    def delete(self, path: str) -> None:
        """Delete what is at a path; do nothing if there is nothing.

        Raises:
            LabelStudioAPIError: for the reasons that `get` names, but for a 404.
        """
        try:
            self._call("DELETE", path)
        except NoSuchProjectError:
            logger.debug("There was nothing to delete at %s.", path)

    def _call(
        self,
        method: str,
        target: str,
        *,
        body: bytes | None = None,
        answer_within_s: float | None = None,
        most_bytes: int = MOST_ANSWER_BYTES,
    ) -> Answer:
        if not self.has_token:
            raise LabelStudioAPIError(
                f"LABEL_STUDIO_API_KEY is not set, so Label Studio cannot be asked for a project. {TOKEN_ADVICE}"
            )
        url, deadline = self._url(target), self._deadline(answer_within_s)
        kind = {} if body is None else {"Content-Type": "application/json"}
        headers = self.authorization(deadline) | kind
        try:
            return self._ask(Request(url, method, headers, body), deadline, most_bytes)
        except _UnauthorizedError:
            if self.token_kind != "personal":
                raise
        self.forget_access()  # it ended sooner than our clock says, as while this machine slept
        return self._ask(Request(url, method, self.authorization(deadline) | kind, body), deadline, most_bytes)

    def _exchange(self, deadline: Deadline) -> _Access:
        url = self._url("/api/token/refresh/")
        asked_at_s = self._clock_s()
        headers = {"Content-Type": "application/json"}
        request = Request(url, "POST", headers, json.dumps({"refresh": self._key}).encode())
        try:
            token = self._ask(request, deadline, MOST_ANSWER_BYTES).body.get("access")
        except NoSuchProjectError as error:
            raise LabelStudioAPIError(f"Label Studio has no {url.shown}. Check LABEL_STUDIO_URL.") from error
        if not isinstance(token, str):
            raise LabelStudioAPIError(f"{url.shown} answered without an access token.")
        return _Access(token, asked_at_s + _lifetime_s(token))

    def _ask(self, request: Request, deadline: Deadline, most_bytes: int) -> Answer:
        """Send a request and return its answer.

        Messages of errors hold the URL and the status; of the body only the reason why something is not taken.
        """
        url = request.url
        try:
            with self._transport.send(request, deadline) as answer:
                _require_success(answer, url)
                data = read_body(answer, most_bytes)
        except NoAnswerError as error:
            if deadline.has_passed:
                raise LabelStudioTimeoutError(_unanswered(url, "no time was left")) from error
            raise LabelStudioDownError(_unanswered(url, str(error))) from error
        if data is None:
            raise LabelStudioSlowError(f"Label Studio answered with more than {most_bytes} bytes at {url.shown}.")
        nothing = request.method == "DELETE" and not data
        return Answer({} if nothing else _json_object(data, url), len(data))

    def _deadline(self, seconds: float | None = None) -> Deadline:
        return Deadline.within(self._answer_within_s if seconds is None else seconds, self._clock_s)

    def _url(self, target: str) -> WebUrl:
        """Return the URL of a path, with its query, below the address of Label Studio."""
        try:
            return WebUrl.parse(self.base_url + target)
        except ValueError as error:
            raise LabelStudioAPIError(f"LABEL_STUDIO_URL cannot be asked: {error}.") from error


def _unanswered(url: WebUrl, reason: str) -> str:
    return f"Label Studio did not answer at {url.shown} ({reason}). Check LABEL_STUDIO_URL."


def _require_success(answer: urllib3.HTTPResponse, url: WebUrl) -> None:
    status = answer.status
    if 200 <= status < 300:
        return
    if 300 <= status < 400:
        location = without_user(answer.headers.get("Location", "").partition("?")[0][:2000])[:200]
        raise LabelStudioAPIError(
            f"Label Studio redirects {url.shown} to {location!r}. Set LABEL_STUDIO_URL to its address there."
        )
    if status in (401, 403):
        refused = _UnauthorizedError if status == 401 else LabelStudioAPIError
        raise refused(f"Label Studio refused the token at {url.shown} ({status}). {TOKEN_ADVICE}")
    if status == 404 and _is_json(answer):  # the 404 of another server says nothing of the project
        raise NoSuchProjectError(f"Label Studio answered 404 at {url.shown}. {PROJECT_ADVICE}")
    if status in (400, 413):
        reason = _reason(read_body(answer, MOST_REASON_BYTES) or b"")
        raise LabelStudioRefusedError(f"Label Studio answered {status} at {url.shown}{reason}.")
    kind: type[LabelStudioAPIError] = LabelStudioSlowError if status >= 500 else LabelStudioAPIError
    if status in GATEWAY_TIMEOUTS:
        kind = LabelStudioTimeoutError
    raise kind(f"Label Studio answered {status} at {url.shown}.")


def _reason(body: bytes) -> str:
    """Return what Label Studio says of a request that it refuses, ": " before it; "" if it says nothing readable."""
    try:
        said = json.loads(body)
        found = said.get("validation_errors") or said.get("detail") or ""
    except (ValueError, RecursionError, AttributeError):
        return ""
    text = found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)
    return f": {shorten(text, REASON_CHARACTERS, placeholder=' ...')}" if text else ""


def _is_json(answer: urllib3.HTTPResponse) -> bool:
    return answer.headers.get("Content-Type", "").startswith("application/json")


def _json_object(data: bytes, url: WebUrl) -> dict[str, Any]:
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:  # no JSON, or lists in lists in lists
        raise LabelStudioAPIError(f"{url.shown} did not answer with JSON. Check LABEL_STUDIO_URL.") from error
    if not isinstance(body, dict):
        raise LabelStudioAPIError(f"{url.shown} answered with {type(body).__name__}, expected an object.")
    return body


def _left_s(deadline: Deadline) -> float:
    """Return the seconds left, for a lock; none if the deadline has passed."""
    return 0.0 if deadline.has_passed else deadline.left_s()


TOKEN_ADVICE = (
    "Set LABEL_STUDIO_API_KEY to a token of a user who may see the project: a personal access token, or a "
    "legacy token where the organisation allows these. Label Studio shows tokens under Account & Settings, behind your "
    "picture."
)

PROJECT_ADVICE = (
    "Check the number of the project, which stands in the address of its pages (/projects/N/), and that the user of "
    "LABEL_STUDIO_API_KEY may see it."
)


def _claims(token: str) -> dict[str, Any]:
    """Return the payload of a JWT, unverified: only Label Studio can verify its own tokens."""
    try:
        _, payload, _ = token.split(".")
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}


def _is_jwt(token: str) -> bool:
    return bool(_claims(token))


def _lifetime_s(token: str) -> float:
    """Return how long an access token lasts, by its own two dates; so the clocks of the two machines may differ."""
    claims = _claims(token)
    try:
        return float(claims["exp"]) - float(claims["iat"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return DEFAULT_LIFETIME_S

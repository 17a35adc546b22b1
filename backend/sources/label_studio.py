"""This service as a client of Label Studio: it authenticates, and reads projects and their tasks.

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
from typing import Any
from urllib.parse import urlsplit

import requests

from backend.errors import LabelStudioAPIError, LabelStudioSlowError, NoSuchProjectError
from backend.settings import LabelStudioSettings

logger = logging.getLogger(__name__)

RENEW_BEFORE_S = 30.0  # an access token must outlive the download that uses it
DEFAULT_LIFETIME_S = 300.0  # of an access token without dates; Label Studio 1.23.2 gives its tokens this lifetime
TIMEOUT_S = (5.0, 10.0)  # connect, read


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


class LabelStudioClient:
    """Requests to one Label Studio as one user. Threads may share it."""

    def __init__(self, settings: LabelStudioSettings, *, clock_s: Callable[[], float] = time.monotonic) -> None:
        """Remember the address and the token; no request is sent yet."""
        self.base_url = settings.url.rstrip("/")
        self._key = settings.api_key
        self._clock_s = clock_s
        self._access: _Access | None = None
        self._lock = threading.Lock()

    @property
    def has_token(self) -> bool:
        """Whether a token is set."""
        return bool(self._key)

    def owns(self, url: str) -> bool:
        """Return whether an absolute URL leads to this Label Studio, by its scheme, host and port."""
        return _origin(url) == _origin(self.base_url)

    def authorization(self) -> dict[str, str]:
        """Return the header that authenticates this service; no header if no token is set.

        A personal access token is exchanged when no access token is left that lasts another half minute.

        Raises:
            LabelStudioAPIError: the exchange failed.
        """
        if not self._key:
            return {}
        if not _is_jwt(self._key):
            return {"Authorization": f"Token {self._key}"}
        with self._lock:
            if self._access is None or self._clock_s() > self._access.expires_at_s - RENEW_BEFORE_S:
                self._access = self._exchange()
            return {"Authorization": f"Bearer {self._access.token}"}

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
        self, path: str, params: Mapping[str, str | int] | None = None, timeout_s: tuple[float, float] | None = None
    ) -> Answer:
        """Ask for a JSON object.

        Args:
            path: the path below the address of Label Studio.
            params: the query of the request.
            timeout_s: for the connection, and for each part of the answer (None: `TIMEOUT_S`).

        Raises:
            NoSuchProjectError: Label Studio answered 404.
            LabelStudioSlowError: Label Studio failed (5xx) or took too long.
            LabelStudioAPIError: no token is set, or Label Studio refused or did not answer.
        """
        if not self.has_token:
            raise LabelStudioAPIError(
                f"LABEL_STUDIO_API_KEY is not set, so Label Studio cannot be asked for a project. {TOKEN_ADVICE}"
            )
        url, headers = f"{self.base_url}{path}", self.authorization()
        return _ask(
            lambda session: session.get(url, params=params, headers=headers, timeout=timeout_s or TIMEOUT_S), url
        )

    def _exchange(self) -> _Access:
        url = f"{self.base_url}/api/token/refresh/"
        asked_at_s = self._clock_s()
        answer = _ask(lambda session: session.post(url, json={"refresh": self._key}, timeout=TIMEOUT_S), url)
        token = answer.body.get("access")
        if not isinstance(token, str):
            raise LabelStudioAPIError(f"{url} answered without an access token.")
        return _Access(token, asked_at_s + _lifetime_s(token))


def _ask(send: Callable[[requests.Session], requests.Response], url: str) -> Answer:
    """Send a request and return its answer.

    Messages of errors hold the URL and the status, never the body.
    """
    try:
        with requests.Session() as session:
            session.trust_env = False  # neither proxies nor .netrc: only backend.settings decides by environment
            response = send(session)
    except requests.RequestException as error:
        kind = LabelStudioSlowError if isinstance(error, requests.ReadTimeout) else LabelStudioAPIError
        raise kind(f"Label Studio did not answer at {url} ({type(error).__name__}). Check LABEL_STUDIO_URL.") from error
    if response.status_code in (401, 403):
        raise LabelStudioAPIError(f"Label Studio refused the token at {url} ({response.status_code}). {TOKEN_ADVICE}")
    if response.status_code == 404:
        raise NoSuchProjectError(f"Label Studio answered 404 at {url}. {PROJECT_ADVICE}")
    if not response.ok:
        kind = LabelStudioSlowError if response.status_code >= 500 else LabelStudioAPIError
        raise kind(f"Label Studio answered {response.status_code} at {url}.")
    try:
        body = response.json()
    except ValueError as error:
        raise LabelStudioAPIError(f"{url} did not answer with JSON. Check LABEL_STUDIO_URL.") from error
    if not isinstance(body, dict):
        raise LabelStudioAPIError(f"{url} answered with {type(body).__name__}, expected an object.")
    return Answer(body, len(response.content))


TOKEN_ADVICE = (
    "Set LABEL_STUDIO_API_KEY to a token of a user who may see the project: a personal access token, or a "
    "legacy token where the organisation allows these."
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
    except (ValueError, binascii.Error):
        return {}
    return claims if isinstance(claims, dict) else {}


def _is_jwt(token: str) -> bool:
    return bool(_claims(token))


def _lifetime_s(token: str) -> float:
    """Return how long an access token lasts, by its own two dates; so the clocks of the two machines may differ."""
    claims = _claims(token)
    try:
        return float(claims["exp"]) - float(claims["iat"])
    except (KeyError, TypeError, ValueError):
        return DEFAULT_LIFETIME_S


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)

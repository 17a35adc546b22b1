"""Requests of the doctor: whatever is answered is looked at, refusals too, and nothing waits beyond a deadline."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from backend.errors import LabelStudioAPIError, NoAnswerError
from backend.settings import ServerSettings
from backend.sources.deadline import Deadline
from backend.sources.label_studio import LabelStudioClient
from backend.sources.transport import Network, Request, Transport, read_body
from backend.sources.web_url import WebUrl

MOST_ANSWER_BYTES = 16 * 2**20  # tasks of one page, each with one image
ANSWER_WITHIN_S = 10.0


@dataclass(frozen=True)
class Reply:
    """An answer of any status.

    Attributes:
        status: the HTTP status.
        body: the JSON of the answer; None if it is no JSON, or too long.
        date: the header that says when the server answered, by its own clock; "" without one.
    """

    status: int
    body: Any
    date: str = ""

    @property
    def is_success(self) -> bool:
        """Whether the status is one of success."""
        return 200 <= self.status < 300

    @property
    def detail(self) -> str:
        """What the server says of a refusal, such as "Token has expired"; "" if it says nothing of that kind."""
        said = self.body.get("detail") if isinstance(self.body, dict) else None
        return said[:300] if isinstance(said, str) else ""

    def objects(self) -> list[dict[str, Any]]:
        """Return the objects of a list, or of a page of results; what is none is left out."""
        body = self.body
        for key in ("results", "tasks"):
            if isinstance(body, dict) and isinstance(body.get(key), list):
                body = body[key]
        return [each for each in body if isinstance(each, dict)] if isinstance(body, list) else []


@dataclass(frozen=True)
class Asker:
    """Asks Label Studio as its client does, and this service as Label Studio does."""

    client: LabelStudioClient
    transport: Transport = field(default_factory=Network)
    within_s: float = ANSWER_WITHIN_S

    def ask(
        self,
        path: str,
        params: Mapping[str, str | int] | None = None,
        *,
        body: Mapping[str, Any] | None = None,
        token: bool = True,
        within_s: float | None = None,
    ) -> Reply:
        """Ask Label Studio, by POST if there is a body.

        Raises:
            LabelStudioAPIError: the token cannot be exchanged, or the address is none.
            NoAnswerError: Label Studio does not answer in time.
        """
        deadline = Deadline.within(self.within_s if within_s is None else within_s)
        headers = dict(self.client.authorization(deadline)) if token else {}
        data = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            data = json.dumps(body).encode()
        query = f"?{urlencode(params)}" if params else ""
        try:
            url = WebUrl.parse(f"{self.client.base_url}{path}{query}")
        except ValueError as error:
            raise LabelStudioAPIError(f"LABEL_STUDIO_URL cannot be asked: {error}.") from error
        return self._send(Request(url, "GET" if data is None else "POST", headers, data), deadline)

    def ask_service(self, url: str, server: ServerSettings) -> Reply:
        """Ask this machine's own service, with its password.

        Raises:
            NoAnswerError: nothing answers there in time.
        """
        headers = {}
        if server.requires_password:
            pair = f"{server.basic_user}:{server.basic_password}".encode()
            headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        return self._send(Request(WebUrl.parse(url), headers=headers), Deadline.within(self.within_s))

    def _send(self, request: Request, deadline: Deadline) -> Reply:
        try:
            with self.transport.send(request, deadline) as answer:
                data = read_body(answer, MOST_ANSWER_BYTES)
                return Reply(answer.status, _json(data), answer.headers.get("Date", ""))
        except NoAnswerError as error:
            why = "no time was left" if deadline.has_passed else str(error)
            raise NoAnswerError(f"{request.url.shown} did not answer ({why})") from error


def _json(data: bytes | None) -> Any:
    try:
        return None if data is None else json.loads(data)
    except (ValueError, RecursionError):
        return None

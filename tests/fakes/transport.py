"""A transport that answers from a script, without a network."""

import io
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import urllib3

from backend.settings import ImageSettings, LabelStudioSettings
from backend.sources.deadline import Deadline
from backend.sources.fetch import Fetcher
from backend.sources.label_studio import LabelStudioClient
from backend.sources.transport import Request
from tests.fakes.label_studio import LEGACY_TOKEN


def answer(status: int = 200, body: bytes = b"", **headers: str) -> urllib3.HTTPResponse:
    """Return an answer as a transport gives it; its body is still to be read."""
    return urllib3.HTTPResponse(io.BytesIO(body), headers=headers, status=status, preload_content=False)


@dataclass
class FakeTransport:
    """Answers each request by a function, and keeps what it was asked."""

    reply: Callable[[Request], urllib3.HTTPResponse]
    requests: list[Request] = field(default_factory=list)
    deadlines: list[Deadline] = field(default_factory=list)

    @contextmanager
    def send(self, request: Request, deadline: Deadline) -> Iterator[urllib3.HTTPResponse]:
        self.requests.append(request)
        self.deadlines.append(deadline)
        yield self.reply(request)


def offline_fetcher(
    transport: FakeTransport, limits: ImageSettings | None = None, clock_s: Callable[[], float] = time.monotonic
) -> Fetcher:
    """Return a fetcher whose Label Studio is http://ls:8080, and which sends nothing."""
    client = LabelStudioClient(LabelStudioSettings(url="http://ls:8080", api_key=LEGACY_TOKEN), transport=transport)
    return Fetcher(client, ImageSettings() if limits is None else limits, transport, clock_s)

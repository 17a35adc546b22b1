"""A transport that answers from a script, without a network."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import urllib3

from backend.sources.deadline import Deadline
from backend.sources.transport import Request


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

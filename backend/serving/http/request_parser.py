"""Reads requests as waitress does, and keeps no more of a body than somebody will read.

Of a body only as much is kept as the `KeptBytes` of the server allow, which are asked once the headers are there. The
rest is thrown away while it arrives: it needs neither memory nor disk.

Tested by tests/backend/serving/http/test_connections.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from io import BytesIO

from waitress.adjustments import Adjustments
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.receiver import FixedStreamReceiver
from waitress.utilities import Error

KeptBytes = Callable[[str, Mapping[str, str]], int | None]
"""From a request's path and headers ("AUTHORIZATION": "Basic x") to the bytes of its body that are kept; None: all."""


class LengthRequiredError(Error):
    """A body in chunks: its size is not known beforehand, and Label Studio sends none."""

    code = 411
    reason = "Length Required"


class BodyHead:
    """The buffer of a body of which only the first bytes are kept."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._file = BytesIO()

    def append(self, data: bytes) -> None:
        """Keep what there is room for."""
        self._file.write(data[: self._most_bytes - self._file.tell()])

    def getfile(self) -> BytesIO:
        """Return the kept bytes as a file, at its beginning."""
        self._file.seek(0)
        return self._file

    def close(self) -> None:
        """Forget the bytes."""
        self._file.close()

    def __len__(self) -> int:
        """Return how many bytes are kept."""
        return len(self._file.getbuffer())


class RequestParser(HTTPRequestParser):
    """Reads a request, and throws away what is not to be kept of its body."""

    completed: bool

    def __init__(
        self, adjustments: Adjustments, *, kept_bytes: KeptBytes, most_body_bytes: int, clock_s: Callable[[], float]
    ) -> None:
        super().__init__(adjustments)
        self._kept_bytes = kept_bytes
        self._most_body_bytes = most_body_bytes
        self._clock_s = clock_s
        self.begun_s = clock_s()
        self.body_begun_s = math.inf

    def received(self, data: bytes) -> int:
        """Take bytes of the request; return how many belonged to it."""
        consumed: int = super().received(data)
        if self.chunked and not self.completed:
            self.error = LengthRequiredError("send the body with Content-Length instead of in chunks")
            self.completed = True
        return consumed

    def parse_header(self, header_plus: bytes) -> None:
        """Read the headers; then it is known how much of the body is kept."""
        try:
            super().parse_header(header_plus)
        except ValueError as error:  # an address such as http://[::1, a length of 5,000 digits
            raise ParsingError(str(error)) from error
        self.body_begun_s = self._clock_s()
        if not self.content_length:
            return
        kept = self._kept_bytes("/" + self.path.lstrip("/"), self.headers)
        if kept is None and self.content_length > self._most_body_bytes:
            # Nothing is kept, and the application refuses it by its length; a client that still sends would not
            # see an answer.
            self.body_rcv = FixedStreamReceiver(self.content_length, BodyHead(0))
        elif kept is not None and kept < self.content_length:
            self.body_rcv = FixedStreamReceiver(self.content_length, BodyHead(kept))
            self.headers["CONTENT_LENGTH"] = str(kept)  # the application finds no more

"""A scripted HTTP server: what a client asks is seen, and what it is answered is written down beforehand."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Request:
    line: str
    headers: dict[str, str]
    body: bytes


@dataclass
class ScriptedServer:
    """Answers by "METHOD /path" without the query, (status, JSON or bytes); all else is a 404.

    It gives no parts of files.

    Attributes:
        says_length: whether an answer says how many bytes it has.
    """

    url: str = ""
    answers: dict[str, tuple[int, object]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    says_length: bool = True


@contextmanager
def scripted_server() -> Iterator[ScriptedServer]:
    """Run one on a free port of this machine."""
    script = ScriptedServer()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(script))
    script.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield script
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(script: ScriptedServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            line = f"{self.command} {self.path}"
            script.requests.append(Request(line, dict(self.headers), self.rfile.read(length)))
            status, body = script.answers.get(line.partition("?")[0], (404, "not scripted"))
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            if script.says_length:
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PATCH = do_DELETE = _answer  # noqa: N815

        def log_message(self, *arguments: object) -> None:
            """Stay silent."""

    return Handler

"""A server on a free port of loopback, in the place of Label Studio."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[str, str, Any], bytes]
"""From the method, the path with its query, and the JSON that was sent (None without one), the body of the answer."""


@contextmanager
def served(answer: Answer) -> Iterator[str]:
    """Answer GET and POST, several at once, until the block ends; yield the address of the server."""

    class Handler(BaseHTTPRequestHandler):
        def _work(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            sent = json.loads(self.rfile.read(length)) if length else None
            body = answer(self.command, self.path, sent)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = _work  # noqa: N815

        def log_message(self, *_arguments: object) -> None:
            """Keep the output to the figures."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()

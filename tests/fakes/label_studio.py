"""A real HTTP server on loopback that plays the parts of Label Studio that the backend talks to."""

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

LEGACY_TOKEN = "0123456789abcdef0123456789abcdef01234567"
PROJECT_CREATED_AT = "2026-11-20T18:41:39.148527Z"
PROJECT_UID = "1.1795200099"  # what Label Studio makes of id 1 and that moment


def jwt(**claims: Any) -> str:
    """Return an unsigned token of the form of a JWT."""
    parts = [{"alg": "none"}, claims]
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, "signature"])


PERSONAL_TOKEN = jwt(token_type="refresh", exp=4_000_000_000)


@dataclass
class FakeLabelStudio:
    """What the server answers, and what it was asked.

    Attributes:
        files: path, with query, to (content type, body); served to those who show a valid token.
        redirects: path, with query, to the address to go to.
        label_config: of project 1.
        tasks: of project 1, as the API gives them, in the order of their ids.
        task_faults: what requests for tasks are answered instead, one after another: a status, or None.
        patch_faults: the statuses that requests to change project 1 are answered, one after another; then it is done.
        access_lifetime_s: of access tokens.
        slow_s: how long it sleeps between the bytes of files below /data/slow/.
        tags: path, with query, to the ETag of a file; whoever knows it is answered 304, as browsers are.
        sent: (path with query, status) of each file that was asked for.
        requests: (method, path with query, Authorization) of each request.
    """

    files: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    label_config: str = ""
    tasks: list[dict[str, Any]] = field(default_factory=list)
    task_faults: list[int | None] = field(default_factory=list)
    patch_faults: list[int] = field(default_factory=list)
    access_lifetime_s: int = 300
    slow_s: float = 0.05
    tags: dict[str, str] = field(default_factory=dict)
    sent: list[tuple[str, int]] = field(default_factory=list)
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    access_tokens: list[str] = field(default_factory=list)
    url: str = ""

    def paths(self) -> list[str]:
        """Return the paths that were asked for."""
        return [path for _, path, _ in self.requests]

    def admits(self, authorization: str | None) -> bool:
        """Return whether a header shows the legacy token or the newest access token."""
        valid = [f"Token {LEGACY_TOKEN}", *(f"Bearer {token}" for token in self.access_tokens[-1:])]
        return authorization in valid

    def new_access_token(self) -> str:
        now = int(time.time())
        token = jwt(token_type="access", iat=now, exp=now + self.access_lifetime_s, jti=len(self.access_tokens))
        self.access_tokens.append(token)
        return token


@contextmanager
def running(fake: FakeLabelStudio) -> Iterator[FakeLabelStudio]:
    """Serve on a free port of loopback until the block ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(fake))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(fake: FakeLabelStudio) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._note()
            path = urlsplit(self.path).path
            if self.path in fake.redirects:
                self.send_response(302)
                self.send_header("Location", fake.redirects[self.path])
                self.end_headers()
            elif path.startswith("/public/"):
                self._file()
            elif not fake.admits(self.headers["Authorization"]):
                self._json(401, {"detail": "Authentication credentials were not provided."})
            elif path == "/api/projects/1/":
                config = fake.label_config
                self._json(200, {"id": 1, "created_at": PROJECT_CREATED_AT, "label_config": config})
            elif path == "/api/tasks":
                self._tasks({key: values[0] for key, values in parse_qs(urlsplit(self.path).query).items()})
            elif path.startswith("/tasks/"):
                self._presign(parse_qs(urlsplit(self.path).query)["fileuri"][0])
            else:
                self._file()

        def do_POST(self) -> None:
            self._note()
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path == "/api/token/refresh/" and body.get("refresh") == PERSONAL_TOKEN:
                self._json(200, {"access": fake.new_access_token()})
            else:
                self._json(401, {"detail": "Token is invalid"})

        def do_PATCH(self) -> None:
            self._note()
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if not fake.admits(self.headers["Authorization"]):
                self._json(401, {"detail": "Authentication credentials were not provided."})
            elif fake.patch_faults:
                self._json(fake.patch_faults.pop(0), {"detail": "as scripted"})
            else:
                fake.label_config = body["label_config"].strip()
                self._json(200, {"id": 1})

        def _note(self) -> None:
            fake.requests.append((self.command, self.path, self.headers["Authorization"]))

        def _tasks(self, asked: dict[str, str]) -> None:
            fault = fake.task_faults.pop(0) if fake.task_faults else None
            if fault is not None:
                self._json(fault, {"detail": "as scripted"})
                return
            (behind,) = json.loads(asked["query"])["filters"]["items"]
            assert (behind["filter"], behind["operator"]) == ("filter:tasks:id", "greater")
            found = [task for task in fake.tasks if task["id"] > behind["value"]]
            self._json(200, {"tasks": found[: int(asked["page_size"])], "total": len(found)})

        def _presign(self, encoded: str) -> None:
            uri = base64.urlsafe_b64decode(encoded).decode()
            self.send_response(303)
            self.send_header("Location", f"/public/{uri.removeprefix('s3://')}")
            self.end_headers()

        def _file(self) -> None:
            if self.path not in fake.files:
                self._json(404, {"detail": "Not found."})
                return
            content_type, body = fake.files[self.path]
            tag = fake.tags.get(self.path, "")
            is_known = bool(tag) and self.headers["If-None-Match"] == tag
            fake.sent.append((self.path, 304 if is_known else 200))
            self.send_response(304 if is_known else 200)
            if tag:
                self.send_header("ETag", tag)
            if is_known:
                self.end_headers()
                return
            self.send_header("Content-Type", content_type)
            if "/endless/" not in self.path:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            step = 16 if "/slow/" in self.path else max(1, len(body))
            for start in range(0, len(body), step):
                try:
                    self.wfile.write(body[start : start + step])
                except OSError:  # the client has seen enough
                    return
                if "/slow/" in self.path:
                    time.sleep(fake.slow_s)

        def _json(self, status: int, body: dict[str, Any]) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: object) -> None:
            """Keep the test output quiet."""

    return Handler

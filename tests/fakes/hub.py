"""A model hub on this machine: folders as repositories, each of one revision, by the hub's own HTTP interface."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

REVISION = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """Repositories are ``folder/owner/name``; ``fetched`` are the files that were downloaded, as owner/name/path."""

    folder: Path
    url: str = ""
    fetched: list[str] = field(default_factory=list)

    def described(self, repository: str) -> dict[str, object]:
        """Return what the hub says about a repository."""
        return {
            "id": repository,
            "sha": REVISION,
            "siblings": [{"rfilename": name} for name in self._names(repository)],
        }

    def tree(self, repository: str) -> list[dict[str, object]]:
        """Return what the hub says about a repository's files."""
        return [
            {"type": "file", "path": name, "oid": "0" * 40, "size": (self.folder / repository / name).stat().st_size}
            for name in self._names(repository)
        ]

    def _names(self, repository: str) -> list[str]:
        root = self.folder / repository
        return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


@contextmanager
def model_hub(folder: Path) -> Iterator[Hub]:
    """Run one on a free port of this machine."""
    hub = Hub(folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            parts = unquote(urlsplit(self.path).path).strip("/").split("/")
            if parts[:2] == ["api", "models"]:
                repository = "/".join(parts[2:4])
                return self._send_json(hub.tree(repository) if "tree" in parts[4:5] else hub.described(repository))
            name = "/".join([*parts[:2], *parts[4:]])  # owner/name/resolve/revision/path
            file = hub.folder / name
            if parts[2:4] != ["resolve", REVISION] or not file.is_file():
                return self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
            if self.command == "GET":
                hub.fetched.append(name)
            data = file.read_bytes()
            return self._send(200, data, {"ETag": f'"{hashlib.sha256(data).hexdigest()}"'})

        do_GET = do_HEAD = do_POST = _answer  # noqa: N815

        def _send_json(self, value: object) -> None:
            self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

        def _send(self, status: int, data: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {**headers, "X-Repo-Commit": REVISION, "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        def log_message(self, *arguments: object) -> None:
            """Stay silent."""

    return Handler

"""What a rehearsed service is asked, as Label Studio asks it: /health, /setup, and /predict when the label is ready.

A server of files stands in for Label Studio: the service fetches the task's image from it.
"""

from __future__ import annotations

import base64
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath
from typing import Any

from tests.container.stages import ROOT, RehearsalError

PORT, STUDIO_PORT = 19090, 19091
_USER, _PASSWORD = "ann", "secret"
ENVIRONMENT: Mapping[str, str] = {
    "OVDIFF_BASIC_USER": _USER,
    "OVDIFF_BASIC_PASSWORD": _PASSWORD,
    "OVDIFF_PORT": str(PORT),
    "LABEL_STUDIO_URL": f"http://127.0.0.1:{STUDIO_PORT}",
    "OMP_NUM_THREADS": "1",
}
"""What the service is given to be asked by this module; one thread, as everywhere where the embedded models run."""
PROJECT = "1.1795200099"
CONFIG = (
    '<View><Image name="image" value="$image"/>'
    '<BrushLabels name="brush" toName="image"><Label value="boat"/></BrushLabels></View>'
)
READY_WITHIN_S = 300.0


def asked() -> dict[str, object]:
    """Ask the running service, and return the status of each answer and the number of regions that were predicted.

    Raises:
        RehearsalError: the label is not ready in time.
    """
    with _pictures():
        found: dict[str, object] = {"without a password": _status_of(_answer("/status", authorized=False))}
        found["/health"] = _status_of(_answer("/health"))
        found["/setup"] = _status_of(_answer("/setup", {"project": PROJECT, "schema": CONFIG, "extra_params": None}))
        _wait_for_the_label()
        image = {"image": "/data/upload/1/scene.png"}
        task = {"id": 1, "data": image, "project": 1, "annotations": [], "predictions": []}
        status, predicted = _answer("/predict", {"tasks": [task], "project": PROJECT, "label_config": CONFIG})
        regions = [region for each in predicted.get("results", ()) for region in each.get("result", ())]
    return {**found, "/predict": status, "regions": len(regions)}


def _wait_for_the_label() -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline:
        counts = _answer("/status")[1]["projects"].get(PROJECT, {}).get("counts", {})
        if counts == {"ready": 1}:
            return
        time.sleep(1)
    raise RehearsalError(f"The label is not ready after {READY_WITHIN_S:.0f} s: {counts}.")


def _status_of(answer: tuple[int, Any]) -> int:
    return answer[0]


def _answer(path: str, body: object = None, *, authorized: bool = True) -> tuple[int, Any]:
    """Return the status of an answer and its JSON; a body makes it a POST."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    if authorized:
        headers["Authorization"] = "Basic " + base64.b64encode(f"{_USER}:{_PASSWORD}".encode()).decode()
    request = urllib.request.Request(f"http://127.0.0.1:{PORT}{path}", data, headers)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, {}


@contextmanager
def _pictures() -> Iterator[None]:
    with ThreadingHTTPServer(("127.0.0.1", STUDIO_PORT), _Examples) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


class _Examples(SimpleHTTPRequestHandler):
    """Serves the examples under any folder, as Label Studio serves what was uploaded."""

    def translate_path(self, path: str) -> str:
        """Return the file of the examples that has the path's name."""
        return str(ROOT / "examples" / PurePosixPath(path).name)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""

"""A real HTTP server that plays the Label Studio of one project: tasks, filters, predictions, faults when asked for.

It does what Label Studio 1.23.2 was seen to do: it asks the project's backend for predictions whenever tasks are listed
that have none, unless it is asked for a review; it takes a prediction twice, answers how many it took and not which,
and either leaves out what it cannot use or refuses the whole request.
"""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.fakes.label_studio import LEGACY_TOKEN, PROJECT_CREATED_AT
from tests.fakes.pictures import encoded, red_and_blue

CONFIG = (
    '<View><Image name="image" value="$image"/><BrushLabels name="brush" toName="image">'
    '<Label value="red"/><Label value="blue"/></BrushLabels></View>'
)


@dataclass
class Asked:
    """A request, before it is answered or after it was worked on."""

    method: str
    path: str
    query: dict[str, str]
    body: Any = None


@dataclass
class Fault:
    """What a request is answered instead: a status with a body, or None for a connection that breaks."""

    status: int | None
    body: bytes = b'{"detail": "as scripted"}'


Hook = Callable[[Asked], Fault | None]


@dataclass
class ProjectStudio:
    """Project 1.

    Attributes:
        label_config: its label config.
        images: path of an image to its bytes; any other path below /data/ has `picture`.
        annotations: by task, each with its parent_prediction.
        predictions: by their id.
        backend: answers the version of a prediction for a task, as a backend does that Label Studio asks by itself.
        drafts: the tasks that somebody has begun to annotate.
        takes: whether a prediction can be used; one that cannot is left out, or refused if `strict`.
        before: called with each request; the fault that it returns is answered.
        after: called when a request was worked on, before the answer is sent.
    """

    label_config: str = CONFIG
    tasks: dict[int, dict[str, Any]] = field(default_factory=dict)
    images: dict[str, bytes | None] = field(default_factory=dict)
    picture: bytes = field(default_factory=lambda: encoded(red_and_blue()))
    annotations: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    predictions: dict[int, dict[str, Any]] = field(default_factory=dict)
    backend: Callable[[int], str] | None = None
    drafts: set[int] = field(default_factory=set)
    views: dict[int, dict[str, Any]] = field(default_factory=dict)
    takes: Callable[[Mapping[str, Any]], bool] = lambda item: True
    strict: bool = True
    before: Hook = lambda asked: None
    after: Hook = lambda asked: None
    requests: list[Asked] = field(default_factory=list)
    remembers: bool = True
    url: str = ""
    next_id: int = 1
    lock: threading.RLock = field(default_factory=threading.RLock)

    def add_tasks(self, count: int) -> None:
        """Add tasks of one image each."""
        for _ in range(count):
            number = max(self.tasks, default=0) + 1
            self.tasks[number] = {"id": number, "project": 1, "data": {"image": f"/data/upload/1/{number}.png"}}

    def predict(self, task: int, version: str | None, **more: Any) -> int:
        """Store a prediction, as whoever made it; return its id."""
        with self.lock:
            number = self.next_id
            self.next_id += 1
            created = datetime.now(UTC).isoformat()
            found = {"id": number, "task": task, "model_version": version, "result": [], "created_at": created, **more}
            self.predictions[number] = found
            return number

    def versions(self, task: int) -> list[str | None]:
        """Return the versions of a task's predictions, oldest first."""
        return [each["model_version"] for each in self.predictions.values() if each["task"] == task]

    def count(self, method: str, part: str) -> int:
        """Return how many requests of a method had a part of a path."""
        return sum(each.method == method and part in each.path for each in self.requests)

    def answer(self, asked: Asked) -> tuple[int, Any]:
        """Return the status and the JSON, bytes or None that Label Studio answers."""
        with self.lock:
            if asked.path == "/api/projects/1/":
                return 200, {"id": 1, "created_at": PROJECT_CREATED_AT, "label_config": self.label_config}
            if asked.path == "/api/tasks":
                return self._tasks(asked.query)
            imports = {"/api/projects/1/import/predictions": self._import, "/api/projects/1/import": self._import_tasks}
            if asked.path in imports:
                return imports[asked.path](asked.body)
            if asked.path.startswith("/api/predictions/") and asked.method == "DELETE":
                gone = self.predictions.pop(int(asked.path.split("/")[3]), None)
                return (404, {"detail": "Not found."}) if gone is None else (204, None)
            if asked.path.startswith("/api/annotations/"):
                return self._found(self._annotation(int(asked.path.split("/")[3])))
            return self._found(self._stored(asked.path))

    def _annotation(self, number: int) -> dict[str, Any] | None:
        for task, made in self.annotations.items():
            for each in made:
                if task in self.tasks and each.get("id") == number:
                    return {**each, "task": task, "project": 1}
        return None

    def _stored(self, path: str) -> Any:
        if path.startswith("/api/dm/views/"):
            return self.views.get(int(path.split("/")[4]))
        return self.images.get(path, self.picture) if path.startswith("/data/") else None

    def _found(self, body: Any) -> tuple[int, Any]:
        return (404, {"detail": "Not found."}) if body is None else (200, body)

    def _tasks(self, asked: dict[str, str]) -> tuple[int, Any]:
        query = json.loads(asked["query"])
        try:
            found = [task for task in self.tasks.values() if self._meant(task["id"], query)]
        except KeyError:
            return 500, {"detail": "Cannot resolve keyword"}
        found_here = found[: int(asked["page_size"])]
        if self.backend is not None and asked.get("review") != "true":
            for number in [task["id"] for task in found_here if not self.versions(task["id"])]:
                self.predict(number, self.backend(number))
        whole = asked.get("fields") == "all"
        page = [self._task(task, whole) for task in found_here]
        return 200, {"tasks": page, "total": len(found)}

    def _task(self, task: dict[str, Any], whole: bool) -> dict[str, Any]:
        predictions = [each for each in self.predictions.values() if each["task"] == task["id"]]
        annotations = self.annotations.get(task["id"], [])
        counts: dict[str, Any] = {"total_predictions": len(predictions), "total_annotations": len(annotations)}
        counts["updated_at"] = _moment_of(annotations)
        return {**task, **counts, **({"predictions": predictions, "annotations": annotations} if whole else {})}

    def _meant(self, task: int, query: dict[str, Any]) -> bool:
        chosen = query.get("selectedItems", {"all": True})
        if not chosen["all"] and task not in chosen["included"]:
            return False
        items, join = query["filters"]["items"], any if query["filters"]["conjunction"] == "or" else all
        return join(self._fulfils(task, item) for item in items)

    def _fulfils(self, task: int, item: dict[str, Any]) -> bool:
        value, column, operator = item["value"], item["filter"].removeprefix("filter:tasks:"), item["operator"]
        if "child_filter" in item and not self._fulfils(task, item["child_filter"]):
            return False
        tests: dict[tuple[str, str], Callable[[], bool]] = {
            ("id", "greater"): lambda: task > value,
            ("id", "less"): lambda: task < value,
            ("draft_exists", "equal"): lambda: (task in self.drafts) == value,
            ("data.image", "contains"): lambda: value in self.tasks[task]["data"]["image"],
            ("id", "in"): lambda: value["min"] <= task <= value["max"],
            ("total_annotations", "greater"): lambda: len(self.annotations.get(task, [])) > value,
            ("predictions_model_versions", "contains"): lambda: any(
                value[0] in (version or "") for version in self.versions(task)
            ),
        }
        return tests[column, operator]()

    def _import(self, items: list[dict[str, Any]]) -> tuple[int, Any]:
        taken = [item for item in items if item["task"] in self.tasks and self.takes(item)]
        if self.strict and len(taken) < len(items):
            bad = next(item for item in items if item not in taken)
            return 400, {"validation_errors": {"non_field_errors": [f"Prediction: {bad['task']} cannot be used"]}}
        for item in taken:
            self.predict(item["task"], item["model_version"], result=item["result"], score=item.get("score"))
        return 201, {"created": len(taken)}

    def _import_tasks(self, items: list[dict[str, Any]]) -> tuple[int, Any]:
        made = [prediction for item in items for prediction in item["predictions"]]
        if not all(map(self.takes, made)):
            return 400, {"validation_errors": {"predictions": ["one of them cannot be used"]}}
        for item in items:
            number = max(self.tasks, default=0) + 1
            self.tasks[number] = {"id": number, "project": 1, "data": item["data"]}
            for each in item["predictions"]:
                self.predict(number, each["model_version"], result=each["result"], score=each.get("score"))
        return 201, {"task_count": len(items), "prediction_count": len(made)}


def _moment_of(annotations: list[dict[str, Any]]) -> str:
    """Return a moment that is another one whenever the annotations are: Label Studio's task changes with them."""
    digits = int(hashlib.sha256(json.dumps(annotations, sort_keys=True).encode()).hexdigest(), 16) % 10**6
    return f"2026-11-21T10:00:00.{digits:06d}Z"


@contextmanager
def running_project(studio: ProjectStudio) -> Iterator[ProjectStudio]:
    """Serve on a free port of loopback until the block ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(studio))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    studio.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield studio
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(studio: ProjectStudio) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _work(self) -> None:
            parts = urlsplit(self.path)
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            query = {key: values[0] for key, values in parse_qs(parts.query).items()}
            asked = Asked(self.command, parts.path, query, json.loads(data) if data else None)
            if studio.remembers:
                studio.requests.append(asked)
            if self.headers["Authorization"] != f"Token {LEGACY_TOKEN}":
                self._send(401, {"detail": "no"})
                return
            fault = studio.before(asked)
            if fault is None:
                status, body = studio.answer(asked)
                fault = studio.after(asked)
            if fault is None:
                self._send(status, body)
            elif fault.status is not None:
                self._send(fault.status, fault.body)
            else:
                self.close_connection = True

        def _send(self, status: int, body: Any) -> None:
            data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "image/png" if data[:4] == b"\x89PNG" else "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_DELETE = _work  # noqa: N815

        def log_message(self, *args: object) -> None:
            """Keep the test output quiet."""

        def handle(self) -> None:
            try:
                super().handle()
            except OSError:  # the client was killed
                return

    return Handler

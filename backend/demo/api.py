"""The calls of Label Studio's HTTP API that the demo and the end-to-end tests make.

They are written for Label Studio 1.23.2. Its action that retrieves predictions answers 200 even if the backend failed,
so callers must count the stored predictions themselves.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import requests

from backend.demo.errors import ApiError

# Longer than the 100 s that Label Studio gives the backend for one /predict.
_TIMEOUT_S = 180.0
_UPLOAD_NAME_PREFIX = 9  # eight hexadecimal digits and a dash, put before the name of every uploaded file
_PAGE_SIZE = 500


@dataclass(frozen=True)
class StoredTask:
    """A task: its id, the name of the file that was uploaded for it, and the path of the image in Label Studio."""

    id: int
    file_name: str
    image: str


@dataclass(frozen=True)
class LabelStudioApi:
    """A client of one Label Studio as one user; ``token`` is the user's legacy token."""

    url: str
    token: str

    def whoami(self) -> str:
        """Return the e-mail address of the token's user."""
        return str(self.call("GET", "/api/current-user/whoami")["email"])

    def create_project(self, title: str, label_config: str) -> int:
        """Make a project and return its id."""
        body = {"title": title, "label_config": label_config}
        return int(self.call("POST", "/api/projects", json=body)["id"])

    def find_project(self, title: str) -> int | None:
        """Return the id of the newest project with this title, or None if there is no such project."""
        found = self.call("GET", "/api/projects", params={"page_size": _PAGE_SIZE})["results"]
        return max((int(project["id"]) for project in found if project["title"] == title), default=None)

    def label_config(self, project: int) -> str:
        """Return a project's label config."""
        return str(self.call("GET", f"/api/projects/{project}")["label_config"])

    def set_label_config(self, project: int, label_config: str) -> None:
        """Replace a project's label config, as the settings page does when a person saves it."""
        self.call("PATCH", f"/api/projects/{project}", json={"label_config": label_config})

    def upload_images(self, project: int, paths: Sequence[Path]) -> None:
        """Make one task of each image file."""
        with ExitStack() as stack:
            # Each file under a field name of its own: of several under one name Label Studio keeps the last.
            files = {f"file{i}": (path.name, stack.enter_context(path.open("rb"))) for i, path in enumerate(paths)}
            answer = self.call("POST", f"/api/projects/{project}/import", files=files)
        if answer["task_count"] != len(paths):
            raise ApiError(f"{len(paths)} images were uploaded, but Label Studio made {answer['task_count']} tasks.")

    def tasks(self, project: int) -> list[StoredTask]:
        """Return a project's tasks in the order of their ids."""
        params = {"project": project, "page_size": _PAGE_SIZE, "fields": "task_only"}
        found = self.call("GET", "/api/tasks", params=params)["tasks"]
        return sorted(map(_stored_task, found), key=lambda task: task.id)

    def backends(self, project: int) -> list[dict[str, Any]]:
        """Return the project's ML backends. For this answer Label Studio calls /health and /setup of each backend."""
        return list(self.call("GET", "/api/ml", params={"project": project}))

    def connect_backend(self, project: int, url: str, title: str) -> dict[str, Any]:
        """Connect an ML backend, or move the backend of this title to ``url``; return Label Studio's record of it."""
        body = {"url": url, "project": project, "title": title}
        known = [backend for backend in self.backends(project) if backend["title"] == title]
        if known and known[0]["url"] == url and known[0]["state"] == "CO":
            return known[0]
        if known:
            # A moved backend is connected anew: its webhook would keep the old address.
            self.disconnect_backends(project)
        return dict(self.call("POST", "/api/ml", json=body))

    def disconnect_backends(self, project: int) -> None:
        """Remove the project's ML backends, and its webhooks, which Label Studio would leave behind."""
        for backend in self.backends(project):
            self.request("DELETE", f"/api/ml/{backend['id']}")
        for webhook in self.call("GET", "/api/webhooks/", params={"project": project}):
            self.request("DELETE", f"/api/webhooks/{webhook['id']}/")

    def retrieve_predictions(self, project: int, tasks: Iterable[int]) -> None:
        """Run the Data Manager's "Retrieve Predictions" on these tasks.

        Label Studio sends the tasks to the backend in one request and stores the predictions of its answer. It does
        not report failures.
        """
        body = {"selectedItems": {"all": False, "included": list(tasks)}}
        params = {"id": "retrieve_tasks_predictions", "project": project}
        self.call("POST", "/api/dm/actions", params=params, json=body)

    def open_task(self, project: int, task: int) -> int:
        """Open a task as the Data Manager does, and return how many predictions the editor would show.

        If the task has no prediction, Label Studio asks the backend for one, and waits for the answer.
        """
        return len(self.call("GET", f"/api/tasks/{task}", params={"project": project})["predictions"])

    def make_interactive(self, project: int) -> None:
        """Have Label Studio ask the project's backend for a mask whenever somebody draws with a smart tool."""
        backend = self.backends(project)[0]
        body = {key: backend[key] for key in ("url", "project", "title")} | {"is_interactive": True}
        self.call("PATCH", f"/api/ml/{backend['id']}", json=body)

    def click(self, project: int, task: int, prompt: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the regions that the backend offers for a prompt, a region drawn with a smart tool.

        Raises:
            ApiError: the backend gave no answer.
        """
        backend = self.backends(project)[0]["id"]
        body = {"task": task, "context": {"result": [dict(prompt)]}}
        answer = self.call("POST", f"/api/ml/{backend}/interactive-annotating", json=body)
        if "data" not in answer:
            raise ApiError(f"The backend gave no mask for a click on task {task}: {answer}")
        return list(answer["data"]["result"])

    def predictions(self, task: int) -> list[dict[str, Any]]:
        """Return all predictions that are stored for a task, oldest first."""
        found = self.call("GET", "/api/predictions", params={"task": task})
        return sorted(found, key=lambda prediction: int(prediction["id"]))

    def create_annotation(self, task: int, result: Sequence[Mapping[str, Any]], prediction: int) -> int:
        """Submit an annotation that corrects a prediction, as the editor does; return its id."""
        body = {"result": list(result), "parent_prediction": prediction, "lead_time": 1.0}
        return int(self.call("POST", f"/api/tasks/{task}/annotations", json=body)["id"])

    def export_json(self, project: int) -> list[dict[str, Any]]:
        """Return Label Studio's JSON export of the annotated tasks."""
        return list(self.call("GET", f"/api/projects/{project}/export", params={"exportType": "JSON"}))

    def download(self, image: str) -> bytes:
        """Return the bytes of a task's image as Label Studio serves them."""
        return self.request("GET", image).content

    def call(self, method: str, path: str, **arguments: Any) -> Any:
        """Make a request and return its JSON answer; ``arguments`` are those of ``requests.request``.

        Raises:
            ApiError: for the reasons that `request` names, or the answer is not JSON.
        """
        response = self.request(method, path, **arguments)
        try:
            return response.json()
        except ValueError as error:
            raise ApiError(f"{method} {path}: Label Studio's answer is not JSON: {response.text[:200]!r}") from error

    def request(self, method: str, path: str, **arguments: Any) -> requests.Response:
        """Make a request and return its answer.

        Raises:
            ApiError: Label Studio does not answer, or it answers with an error; the message quotes the answer.
        """
        headers = {"Authorization": f"Token {self.token}"}
        with requests.Session() as session:
            session.trust_env = False  # loopback: no proxy of the environment, no .netrc
            try:
                response = session.request(
                    method, f"{self.url}{path}", headers=headers, timeout=_TIMEOUT_S, **arguments
                )
            except requests.RequestException as error:
                raise ApiError(f"{method} {path}: Label Studio does not answer: {error}") from error
        if not response.ok:
            raise ApiError(f"{method} {path}: Label Studio answers {response.status_code}: {response.text[:500]}")
        return response


def _stored_task(task: Mapping[str, Any]) -> StoredTask:
    image = str(task["data"]["image"])
    return StoredTask(int(task["id"]), PurePosixPath(image).name[_UPLOAD_NAME_PREFIX:], image)

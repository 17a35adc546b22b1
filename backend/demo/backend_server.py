"""The backend, ``ovdiff serve``, in a process of its own, and the status of its categories."""

import os
import sysconfig
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from backend.demo.console import Console
from backend.demo.errors import ServerError, log_tail
from backend.demo.label_studio import LabelStudio
from backend.demo.processes import LOOPBACK, Child, ProcessGroups, free_port, is_up, wait_until_ready

_START_TIMEOUT_S = 180.0
_PROTOTYPES_TIMEOUT_S = 3600.0
_POLL_S = 0.5
_STATUS_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class CategoryStatus:
    """How far a category's prototypes are.

    ``state`` is ready, building, queued or failed. While the prototypes are built, ``stage`` names the step of the
    build and ``progress`` is the fraction, 0 to 1, of the whole build that is done. ``reason`` says why it failed.
    ``word`` is known, doubtful or not judged; ``advice`` says what to try with a doubtful word.
    """

    name: str
    state: str
    stage: str
    progress: float
    reason: str
    word: str
    advice: str


@dataclass(frozen=True)
class BackendServer:
    """A running backend.

    ``folder`` holds its bank and its state file. ``settings`` are the variables of its environment that win over those
    of the demo. ``anchors`` is the command that builds the anchors, if one was begun before the backend started.
    """

    url: str
    folder: Path
    child: Child
    settings: Mapping[str, str] = field(default_factory=dict)
    anchors: Child | None = None

    def log(self) -> str:
        """Return what the backend has logged so far."""
        return self.child.log_path.read_text(errors="replace")

    def built(self) -> list[str]:
        """Return the categories whose prototypes this process has made, in the order of building."""
        return list(map(str, self._status()["built"]))

    def categories(self, project: int) -> list[CategoryStatus]:
        """Return the state of every category of a project.

        Raises:
            ServerError: the backend does not know the project, or cannot use its label config.
        """
        projects = self._status()["projects"]
        known = next((status for uid, status in projects.items() if uid.split(".")[0] == str(project)), None)
        if known is None:
            raise ServerError(f"The backend was never asked to prepare project {project}; it knows {list(projects)}.")
        if known["error"]:
            raise ServerError(f"The backend cannot use the labels of project {project}: {known['error']}")
        return [_category(entry) for entry in known["categories"]]

    def build_anchors(self, console: Console) -> None:
        """Make the prototypes of the preset's anchors by ``ovdiff prototypes build --anchors``, and show the progress.

        Anchors are words that nobody asked for. They take the pixels that no asked word fits, and are never painted.
        If all of them are built, nothing runs. What :func:`begin_anchors` began is waited for.

        Raises:
            ServerError: the command failed; the message ends with the end of its log. Or the backend died.
        """
        if self.anchors is not None:
            self._wait_for_anchors(self.anchors, console)
        built, words = self._anchors()
        if built == words:
            return
        with ProcessGroups() as groups:
            self._wait_for_anchors(begin_anchors(self.folder, groups, self.settings), console)

    def _wait_for_anchors(self, child: Child, console: Console) -> None:
        while child.process.poll() is None:
            built, words = self._anchors()
            console.progress(f"prototypes of {built} of {words} anchors, words that may win unasked, are ready")
            time.sleep(_POLL_S)
        console.end_progress()
        if code := child.process.returncode:
            raise ServerError(f"{child.name} exited with status {code}.\n{log_tail(child.log_path)}")

    def _anchors(self) -> tuple[int, int]:
        """Return how many anchors are built, and how many the preset has."""
        anchors = self._status()["anchors"]
        return int(anchors["built"]), int(anchors["words"])

    def _status(self) -> dict[str, Any]:
        with requests.Session() as session:
            session.trust_env = False
            try:
                response = session.get(f"{self.url}/status", timeout=_STATUS_TIMEOUT_S)
                response.raise_for_status()
            except requests.RequestException as error:
                self.child.ensure_running()
                raise ServerError(f"The backend does not tell its status: {error}") from error
        return dict(response.json())

    def wait_for_prototypes(self, project: int, console: Console, timeout_s: float = _PROTOTYPES_TIMEOUT_S) -> None:
        """Wait until every category of a project has its prototypes, and show the progress and doubtful labels.

        Raises:
            ServerError: a category failed, the backend died, or ``timeout_s`` have passed.
        """
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            categories = self.categories(project)
            console.progress(_ready_text(categories), _building_text(categories))
            if failed := [f"{c.name}: {c.reason}" for c in categories if c.state == "failed"]:
                raise ServerError("The backend could not make the prototypes of " + "; ".join(failed))
            if all(category.state == "ready" for category in categories):
                console.end_progress()
                for doubtful in (category for category in categories if category.word == "doubtful"):
                    console.say(f"The label {doubtful.name!r} is doubtful: {doubtful.advice}")
                return
            time.sleep(_POLL_S)
        raise ServerError(f"The labels are not ready after {timeout_s:.0f} s: {_ready_text(categories)}.")


def begin_anchors(folder: Path, groups: ProcessGroups, settings: Mapping[str, str]) -> Child:
    """Begin to build the anchors of the preset into the bank of a folder; neither server is needed for that."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [ovdiff_command(), "prototypes", "build", "--anchors"]
    environment = {**_method_environment(folder), **settings}
    return groups.start("`ovdiff prototypes build --anchors`", command, environment, folder / "anchors.log")


def start(
    folder: Path,
    label_studio: LabelStudio,
    groups: ProcessGroups,
    console: Console,
    *,
    preferred_port: int = 9090,
    settings: Mapping[str, str] | None = None,
    anchors: Child | None = None,
) -> BackendServer:
    """Start the backend for one Label Studio and wait until it answers.

    Args:
        folder: it holds the bank, the state file and the log.
        label_studio: what the backend fetches images from.
        groups: what ends the backend's process at last.
        console: what shows that the backend is starting.
        preferred_port: the port, unless another program has it.
        settings: variables of the backend's environment that win over those of the demo.
        anchors: the command that builds the anchors, if it was begun already.

    Raises:
        ServerError: the backend did not start; the message ends with the end of its log.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port(preferred_port)
    url = f"http://{LOOPBACK}:{port}"
    command = [ovdiff_command(), "serve"]
    environment = {**_environment(folder, port, label_studio), **(settings or {})}
    child = groups.start("The backend", command, environment, folder / "backend.log")
    wait_until_ready(
        child,
        lambda: is_up(url),
        _START_TIMEOUT_S,
        lambda s: console.progress(f"The backend is starting: {s // 5 * 5:.0f} s"),
    )
    return BackendServer(url, folder, child, settings or {}, anchors)


def _environment(folder: Path, port: int, label_studio: LabelStudio) -> dict[str, str]:
    return {**command_environment(folder, label_studio), "OVDIFF_HOST": LOOPBACK, "OVDIFF_PORT": str(port)}


def command_environment(folder: Path, label_studio: LabelStudio) -> dict[str, str]:
    """Return the environment of a command of ``ovdiff`` that works beside the backend of a folder."""
    return {
        **_method_environment(folder),
        "LABEL_STUDIO_URL": label_studio.url,
        "LABEL_STUDIO_API_KEY": label_studio.login.token,
    }


def ovdiff_command() -> str:
    """Return the path of the command ``ovdiff`` in this environment."""
    return str(Path(sysconfig.get_path("scripts")) / "ovdiff")


def _method_environment(folder: Path) -> dict[str, str]:
    """Return what every command of ``ovdiff`` on the demo's folder needs, so that all of them share one bank."""
    return {
        "PATH": os.defpath,
        "HOME": str(folder.absolute()),
        "OVDIFF_DATA_DIR": str(folder.absolute()),
        "OVDIFF_PRESET": "tinyworld",
        "PYTHONUNBUFFERED": "1",
        # The embedded models are too small to share among threads, and threads that wait for one another
        # beside Label Studio and a browser made a category of 5 s take up to four minutes.
        "OMP_NUM_THREADS": "1",
    }


def _category(entry: Mapping[str, Any]) -> CategoryStatus:
    return CategoryStatus(
        str(entry["name"]),
        str(entry["state"]),
        str(entry["stage"]),
        float(entry["progress"]),
        str(entry["reason"]),
        str(entry["word"]),
        str(entry["advice"]),
    )


def _ready_text(categories: list[CategoryStatus]) -> str:
    ready = sum(category.state == "ready" for category in categories)
    return f"{ready} of {len(categories)} categories are ready"


def _building_text(categories: list[CategoryStatus]) -> str:
    building = [c for c in categories if c.state == "building"]
    return ", ".join(f"{c.name}: {c.stage} {c.progress:.0%}" for c in building)

"""Both servers of the demo, running for as long as a ``with`` block.

    with open_session(settings, console) as session:
        session.maker.ensure_project(...)

The folder holds all state: Label Studio's database, the prototype bank and the images. If the folder is kept, the next
session continues where this one ended.
"""

import fcntl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from backend.demo import backend_server, label_studio
from backend.demo.backend_server import BackendServer
from backend.demo.console import Console
from backend.demo.errors import DemoError
from backend.demo.label_studio import LabelStudio
from backend.demo.processes import ProcessGroups, exit_on_termination
from backend.demo.project import ProjectMaker
from backend.demo.steps import BACKEND, DATABASE, LABEL_STUDIO


@dataclass(frozen=True)
class SessionSettings:
    """The settings of a session. If one of the ports is taken, the session uses another port."""

    label_studio: Path
    """Label Studio's executable, in an environment of its own."""
    folder: Path = Path("demo-data")
    cache: Path = Path(".cache")
    """Folder of the Label Studio databases that sessions copy."""
    label_studio_port: int = 8080
    backend_port: int = 9090
    backend_settings: Mapping[str, str] = field(default_factory=dict)
    """Variables of the backend's environment that win over those of the demo."""
    anchors_at_once: bool = False
    """Whether a new folder's anchors are built while Label Studio starts: two cores then have something to do."""


@dataclass(frozen=True)
class Session:
    """A running Label Studio, a running backend, and the maker of projects in them."""

    label_studio: LabelStudio
    backend: BackendServer
    maker: ProjectMaker

    def ensure_running(self) -> None:
        """Raise ServerError with the end of a server's log if one of the two servers has exited."""
        self.label_studio.child.ensure_running()
        self.backend.child.ensure_running()


@contextmanager
def open_session(settings: SessionSettings, console: Console) -> Iterator[Session]:
    """Start both servers, and stop them when the block ends, also by an error, Ctrl-C, SIGTERM or SIGHUP.

    Raises:
        ServerError: one of the servers did not start; the message ends with the end of its log.
        DemoError: another demo is running on this folder.
    """
    with exit_on_termination(), _only_one(settings.folder), ProcessGroups() as groups:
        folder = settings.folder / "backend"
        anchors = None
        if settings.anchors_at_once and not folder.exists() and settings.label_studio.is_file():
            anchors = backend_server.begin_anchors(folder, groups, settings.backend_settings)
        host = _start_label_studio(settings, groups, console)
        backend = backend_server.start(
            folder,
            host,
            groups,
            console,
            preferred_port=settings.backend_port,
            settings=settings.backend_settings,
            anchors=anchors,
        )
        console.steps.end(BACKEND)
        yield Session(host, backend, ProjectMaker(host.api(), backend, console))


def _start_label_studio(settings: SessionSettings, groups: ProcessGroups, console: Console) -> LabelStudio:
    data_dir = settings.folder / "label-studio"
    if not data_dir.exists():
        template = label_studio.ensure_template(settings.label_studio, settings.cache, groups, console)
        label_studio.ensure_data_dir(template, data_dir)
        console.steps.end(DATABASE)
    started = label_studio.start(
        settings.label_studio, data_dir, groups, console, preferred_port=settings.label_studio_port
    )
    console.steps.end(LABEL_STUDIO)
    return started


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    # Two Label Studios on one SQLite file would spoil it. The lock ends with the process, however it ends.
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoError(
                f"Another demo is running on {folder}. End it, or give this one a folder: --folder."
            ) from None
        yield

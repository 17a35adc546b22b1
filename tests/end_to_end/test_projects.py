"""What a backend knows of the projects of a real Label Studio: which label config is in force, and which are gone."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from backend.demo import backend_server
from backend.demo.backend_server import BackendServer
from backend.demo.console import standard_console
from backend.demo.processes import ProcessGroups
from backend.demo.project import label_config
from backend.demo.session import Session
from tests.fakes.waiting import eventually

pytestmark = pytest.mark.end_to_end


@pytest.fixture
def project(session: Session) -> Iterator[int]:
    """A project with one label, which is connected."""
    made = session.maker.ensure_project("Labels that change", label_config(["balloon"]), [])
    session.maker.connect(made)
    session.backend.wait_for_prototypes(made, session.maker.console)
    yield made
    session.maker.api.disconnect_backends(made)


def known(backend: BackendServer) -> dict[int, dict[str, Any]]:
    """Return what the backend says of each project, by the project's number."""
    status = requests.get(f"{backend.url}/status", timeout=30).json()
    return {int(uid.partition(".")[0]): each for uid, each in status["projects"].items()}


def labels(backend: BackendServer, project: int) -> list[str]:
    return [category["name"] for category in known(backend)[project]["categories"]]


def test_labels_that_change_their_order_and_colour_keep_the_version(session: Session, project: int) -> None:
    api, built = session.maker.api, session.backend.built()
    text = label_config(["balloon", "sky"])
    api.set_label_config(project, text)
    assert eventually(lambda: labels(session.backend, project) == ["balloon", "sky"], timeout_s=60)
    session.backend.wait_for_prototypes(project, session.maker.console)
    version = api.backends(project)[0]["model_version"]
    api.set_label_config(project, label_config(["sky", "balloon"]).replace("<Label ", '<Label hotkey="9" ', 1))
    assert eventually(lambda: labels(session.backend, project) == ["sky", "balloon"], timeout_s=60)
    assert api.backends(project)[0]["model_version"] == version
    assert set(session.backend.built()) - set(built) <= {"sky"}


def test_what_happened_while_a_backend_was_down_is_noticed_when_it_starts(
    session: Session, project: int, tmp_path: Path
) -> None:
    api = session.maker.api
    deleted = api.create_project("Soon deleted", label_config(["balloon"]))
    session.maker.connect(deleted)
    assert {project, deleted} <= set(known(session.backend))
    shutil.copytree(session.backend.folder, tmp_path / "copy")
    api.request("DELETE", f"/api/projects/{deleted}/")
    api.set_label_config(project, label_config(["balloon", "grass"]))
    with ProcessGroups() as groups:
        restarted = backend_server.start(tmp_path / "copy", session.label_studio, groups, standard_console())
        assert eventually(lambda: deleted not in known(restarted), timeout_s=60)
        assert eventually(lambda: labels(restarted, project) == ["balloon", "grass"], timeout_s=60)
    assert deleted in known(session.backend)  # which heard of it a moment ago

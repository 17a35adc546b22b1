import io
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backend.demo import backend_server
from backend.demo.backend_server import BackendServer
from backend.demo.console import Console
from backend.demo.errors import ServerError
from backend.demo.processes import ProcessGroups
from tests.fakes.scripted_server import ScriptedServer


@pytest.fixture
def backend(server: ScriptedServer, tmp_path: Path) -> Iterator[BackendServer]:
    """The scripted server as a backend whose process is one that sleeps."""
    with ProcessGroups() as groups:
        command = [sys.executable, "-c", "import time; time.sleep(600)"]
        child = groups.start("The backend", command, {"PATH": os.defpath}, tmp_path / "log")
        yield BackendServer(server.url, tmp_path, child)


def _status(error: str | None = None, **states: str) -> dict[str, Any]:
    categories = [
        {"name": name, "state": state, "stage": "images", "progress": 0.5, "reason": "no such weights"}
        | {"word": "doubtful" if name == "crab" else "known", "advice": "Look." if name == "crab" else ""}
        for name, state in states.items()
    ]
    return {"built": ["ball"], "projects": {"7.1795200099": {"error": error, "categories": categories}}}


def test_waiting_ends_when_all_are_ready(server: ScriptedServer, backend: BackendServer) -> None:
    server.answers["GET /status"] = 200, _status(ball="ready", sky="ready")
    stream = io.StringIO()
    backend.wait_for_prototypes(7, Console(stream))
    assert stream.getvalue() == "  2 of 2 categories are ready\n"
    assert backend.built() == ["ball"]


def test_doubtful_labels_are_named_with_what_to_try(server: ScriptedServer, backend: BackendServer) -> None:
    server.answers["GET /status"] = 200, _status(ball="ready", crab="ready")
    stream = io.StringIO()
    backend.wait_for_prototypes(7, Console(stream))
    assert stream.getvalue().splitlines()[1:] == ["The label 'crab' is doubtful: Look."]


def test_waiting_has_an_end(server: ScriptedServer, backend: BackendServer) -> None:
    server.answers["GET /status"] = 200, _status(ball="ready", sky="building")
    with pytest.raises(ServerError, match=r"not ready after 1 s: 1 of 2 categories are ready\."):
        backend.wait_for_prototypes(7, Console(io.StringIO()), timeout_s=1)


def test_a_failed_category_is_named_with_its_reason(server: ScriptedServer, backend: BackendServer) -> None:
    server.answers["GET /status"] = 200, _status(ball="ready", sky="failed")
    with pytest.raises(ServerError, match="could not make the prototypes of sky: no such weights"):
        backend.wait_for_prototypes(7, Console(io.StringIO()))


def test_a_project_that_the_backend_was_never_told_of(server: ScriptedServer, backend: BackendServer) -> None:
    server.answers["GET /status"] = 200, _status(ball="ready")
    with pytest.raises(ServerError, match=r"never asked to prepare project 79; it knows \['7\.1795200099'\]"):
        backend.categories(79)


def test_labels_that_the_backend_cannot_use(server: ScriptedServer, backend: BackendServer) -> None:
    server.answers["GET /status"] = 200, _status(error="no labels")
    with pytest.raises(ServerError, match="cannot use the labels of project 7: no labels"):
        backend.categories(7)


def test_what_a_backend_has_logged_so_far(backend: BackendServer) -> None:
    backend.child.log_path.write_bytes(b"1 task asked for\n\xff\n")
    assert backend.log().splitlines()[0] == "1 task asked for"


def test_a_backend_that_died_shows_its_log(backend: BackendServer) -> None:
    backend.child.log_path.write_text("out of memory\n")
    backend.child.process.kill()
    backend.child.process.wait()
    gone = BackendServer("http://127.0.0.1:1", backend.folder, backend.child)
    with pytest.raises(ServerError, match=r"(?s)The backend exited with status -9.*out of memory"):
        gone.categories(7)


def _with_anchors(built: int) -> dict[str, Any]:
    return {"built": [], "projects": {}, "anchors": {"words": 19, "built": built, "advice": ""}}


def _command(monkeypatch: pytest.MonkeyPatch, folder: Path, lines: str) -> None:
    """Let a script of the shell be the command ``ovdiff``; its arguments and its folder of data go to a file."""
    script = folder / "ovdiff"
    script.write_text(f'#!/bin/sh\necho "$@ $OVDIFF_DATA_DIR $OVDIFF_PRESET" > {folder}/asked\n{lines}\n')
    script.chmod(0o755)
    monkeypatch.setattr(backend_server, "ovdiff_command", lambda: str(script))


def test_anchors_that_are_missing_are_built_by_the_command_on_the_demo_s_bank(
    server: ScriptedServer, backend: BackendServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers["GET /status"] = 200, _with_anchors(3)
    _command(monkeypatch, tmp_path, "sleep 0.1")
    stream = io.StringIO()
    backend.build_anchors(Console(stream))
    assert (tmp_path / "asked").read_text() == f"prototypes build --anchors {tmp_path} tinyworld\n"
    assert stream.getvalue() == "  prototypes of 3 of 19 anchors, words that may win unasked, are ready\n"


def test_a_command_that_fails_ends_with_its_log(
    server: ScriptedServer, backend: BackendServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers["GET /status"] = 200, _with_anchors(3)
    _command(monkeypatch, tmp_path, "echo no such weights; exit 4")
    with pytest.raises(ServerError, match=r"(?s)build --anchors` exited with status 4.*no such weights"):
        backend.build_anchors(Console(io.StringIO()))


def test_anchors_that_were_begun_before_the_backend_are_waited_for_and_not_built_twice(
    server: ScriptedServer, backend: BackendServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers["GET /status"] = 200, _with_anchors(19)
    _command(monkeypatch, tmp_path, f"echo again >> {tmp_path}/times; sleep 0.3; touch {tmp_path}/finished")
    with ProcessGroups() as groups:
        begun = backend_server.begin_anchors(tmp_path, groups, {"OVDIFF_PRESET": "tinyworld"})
        replace(backend, anchors=begun).build_anchors(Console(io.StringIO()))
        assert (tmp_path / "finished").exists()
    assert (tmp_path / "asked").read_text() == f"prototypes build --anchors {tmp_path} tinyworld\n"
    assert (tmp_path / "times").read_text() == "again\n"


def test_anchors_that_were_begun_and_failed_end_with_their_log(
    backend: BackendServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _command(monkeypatch, tmp_path, "echo no such weights; exit 4")
    with ProcessGroups() as groups:
        begun = backend_server.begin_anchors(tmp_path, groups, {})
        begun.process.wait()
        with pytest.raises(ServerError, match=r"(?s)build --anchors` exited with status 4.*no such weights"):
            replace(backend, anchors=begun).build_anchors(Console(io.StringIO()))


def test_nothing_runs_where_all_anchors_are_built(
    server: ScriptedServer, backend: BackendServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers["GET /status"] = 200, _with_anchors(19)
    _command(monkeypatch, tmp_path, "exit 4")
    backend.build_anchors(Console(io.StringIO()))
    assert not (tmp_path / "asked").exists()

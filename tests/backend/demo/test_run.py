import io
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from backend.demo import run, steps
from backend.demo.console import Console
from backend.demo.engines import ENGINES
from backend.demo.errors import ApiError, ServerError
from backend.demo.few_words import Outcome, WordInImage
from backend.demo.label_studio import Login
from backend.demo.project import DemoScene, demo_labels, label_config
from backend.demo.session import SessionSettings

ARGUMENTS = ["--label-studio", "bin/label-studio"]


@dataclass
class _Servers:
    """A session that runs nothing; it notes what is asked of it, and dies, or is interrupted, when a test says so."""

    asked: list[Any] = field(default_factory=list)
    checks_left: int = 2
    end: BaseException = field(default_factory=KeyboardInterrupt)
    closed: bool = False
    settings: SessionSettings | None = None
    refuse: Exception | None = None

    @contextmanager
    def open(self, settings: SessionSettings, console: Console) -> Iterator[Any]:
        self.settings = settings
        if self.refuse is not None:
            raise self.refuse
        maker = SimpleNamespace(
            console=console,
            ensure_project=lambda title, config, images: self.asked.append((title, config, list(images))) or 7,
            connect=lambda project: self.asked.append(("connect", project)),
            predict=lambda project: self.asked.append(("predict", project)),
        )
        backend = SimpleNamespace(
            build_anchors=lambda _: self.asked.append("anchors"),
            wait_for_prototypes=lambda project, _: self.asked.append(("wait", project)),
        )
        studio = SimpleNamespace(url="http://127.0.0.1:8123", login=Login("demo@example.com", "a-password", "a-token"))
        try:
            yield SimpleNamespace(
                maker=maker, backend=backend, label_studio=studio, ensure_running=self._ensure_running
            )
        finally:
            self.closed = True

    def _ensure_running(self) -> None:
        self.checks_left -= 1
        if self.checks_left < 0:
            raise self.end


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> _Servers:
    found = _Servers()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run, "open_session", found.open)
    few_words = (WordInImage("umbrella", "scene-0001.png", 0.0, 0.0, 0.0),)
    monkeypatch.setattr(run, "make_few_words", lambda session, folder: Outcome(8, few_words))
    monkeypatch.setattr(run.time, "sleep", lambda seconds: None)
    return found


def test_ctrl_c_ends_the_demo_well_and_says_where_the_project_is(
    servers: _Servers, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.main([*ARGUMENTS, "--scenes", "1", "--folder", "here"]) == 0
    shown = capsys.readouterr().out
    assert "No image shows an umbrella, and the word was painted in none of them." in shown
    assert "Look at them: http://127.0.0.1:8123/projects/8/data\n" in shown
    assert "Open      http://127.0.0.1:8123/projects/7/data" in shown
    assert "E-mail    demo@example.com" in shown and "Password  a-password" in shown
    assert re.search(r"The first masks were there \d+ s after the command, all of them after \d+ s\.", shown)
    assert "a-token" not in shown
    assert shown.endswith("Stopped; nothing is left running. The project is kept in here.\n")
    assert servers.closed


def test_the_seconds_of_the_steps_are_written(servers: _Servers) -> None:
    assert run.main([*ARGUMENTS, "--scenes", "1", "--folder", "here", "--steps", "demo.json"]) == 0
    written = json.loads(Path("demo.json").read_text())["steps"]
    assert [row["step"] for row in written] == [
        steps.IMPORTS,
        steps.PROJECT,
        steps.WORDS,
        steps.READY,
        steps.SECOND_PROJECT,
    ]
    assert all(row["seconds"] >= 0 for row in written)


def test_a_server_that_dies_later_ends_the_demo_with_its_log(
    servers: _Servers, capsys: pytest.CaptureFixture[str]
) -> None:
    servers.end = ServerError("The backend exited with status -9.\nThe end of its log:")
    assert run.main([*ARGUMENTS, "--scenes", "1"]) == 1
    assert capsys.readouterr().out.endswith(
        "The demo failed. The backend exited with status -9.\nThe end of its log:\n"
    )
    assert servers.closed


def test_a_session_that_does_not_open_is_a_failure(servers: _Servers, capsys: pytest.CaptureFixture[str]) -> None:
    servers.refuse = ApiError("no answer")
    assert run.main(ARGUMENTS) == 1
    assert capsys.readouterr().out == "The demo failed. no answer\n"


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (
            [],
            lambda s: (
                (s.folder, s.cache, s.label_studio_port, s.backend_port)
                == (Path("demo-data"), Path(".cache"), 8080, 9090)
            ),
        ),
        (["--folder", "a", "--cache", "b"], lambda s: (s.folder, s.cache) == (Path("a"), Path("b"))),
        (["--port", "1", "--backend-port", "2"], lambda s: (s.label_studio_port, s.backend_port) == (1, 2)),
    ],
)
def test_options_reach_the_session(
    servers: _Servers, given: list[str], read: Callable[[SessionSettings], bool]
) -> None:
    servers.refuse = ApiError("no answer")
    run.main([*ARGUMENTS, *given])
    assert servers.settings is not None and read(servers.settings)
    assert servers.settings.label_studio == Path("bin/label-studio")


def test_the_project_is_made_connected_and_predicted_once_its_prototypes_are_there(
    servers: _Servers, tmp_path: Path
) -> None:
    settings = SessionSettings(Path("bin/label-studio"))
    with servers.open(settings, Console(io.StringIO())) as session:
        assert run.make_demo(session, [DemoScene(3)], tmp_path, size_px=64) == 7
    (_, config, images), *rest = servers.asked
    assert config == label_config(demo_labels())
    assert images == [tmp_path / "scenes" / "scene-0003.png"] and images[0].is_file()
    assert rest == ["anchors", ("connect", 7), ("wait", 7), ("predict", 7)]


@pytest.mark.parametrize(("engine", "hint"), [("ovdiff", "only new labels are computed"), ("odise", "each object is")])
def test_the_engine_that_was_asked_for_predicts(
    servers: _Servers, capsys: pytest.CaptureFixture[str], engine: str, hint: str
) -> None:
    assert run.main([*ARGUMENTS, "--scenes", "1", "--folder", "here", "--engine", engine]) == 0
    assert servers.settings is not None and servers.settings.backend_settings == ENGINES[engine]
    assert servers.settings.anchors_at_once == (engine == "ovdiff")
    assert hint in capsys.readouterr().out


def test_a_preset_of_ones_own_takes_the_place_of_the_engines(servers: _Servers, tmp_path: Path) -> None:
    assert run.main([*ARGUMENTS, "--engine", "odise", "--preset", str(tmp_path / "mine.toml")]) == 0
    expected = {**ENGINES["odise"], "OVDIFF_PRESET": str(tmp_path / "mine.toml")}
    assert servers.settings is not None and servers.settings.backend_settings == expected

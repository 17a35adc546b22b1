import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from backend.demo import answer_checks, check, few_words_check, object_checks
from backend.demo.checks import Demo
from backend.demo.console import Console
from backend.demo.errors import CheckError, ServerError
from backend.demo.few_words import make_few_words
from backend.demo.processes import LOOPBACK, is_listening
from backend.demo.report import Report
from backend.demo.session import SessionSettings
from tests.fakes.answers import AnswersStudio
from tests.fakes.demo_project import FIRST_ENGINE, PROJECT, SECOND_ENGINE, MemoryStudio, demo_in_memory
from tests.fakes.few_words import SIZE_PX, FewWordsStudio
from tests.fakes.objects import SCENES, ObjectsStudio

ARGUMENTS = ["--label-studio", "bin/label-studio", "--scenes", "1"]
CHECKS = check.CHECKS
ABLE = {"tinyworld": FIRST_ENGINE, "odise_tinyworld": SECOND_ENGINE}


class _Child:
    """A server's process that is gone, or that was left behind."""

    def __init__(self, name: str, *, is_left: bool = False) -> None:
        self.name, self.is_left = name, is_left

    def group_exists(self) -> bool:
        return self.is_left


class _Server:
    """A server that holds no port; what the wrapped object can, it can, too."""

    def __init__(self, child: _Child, port: int, wrapped: Any = None) -> None:
        self.child, self.url, self._wrapped = child, f"http://{LOOPBACK}:{port}", wrapped

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wrapped, name)


class _Session:
    """A demo in memory as a session; `dies` is raised where the check makes sure that its servers run."""

    def __init__(self, studio: MemoryStudio, ports: Sequence[int]) -> None:
        self.maker = studio
        self.label_studio = _Server(_Child("Label Studio"), ports[0])
        self.backend = _Server(_Child("The backend"), ports[1], studio.backend)
        self.dies: Exception | None = None

    def ensure_running(self) -> None:
        if self.dies is not None:
            raise self.dies


def _free_ports() -> list[int]:
    with socket.create_server((LOOPBACK, 0)) as one, socket.create_server((LOOPBACK, 0)) as two:
        return [one.getsockname()[1], two.getsockname()[1]]


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> _Session:
    """The check on a demo in memory, with one check that passes; the second run builds nothing."""
    _, studio = demo_in_memory(tmp_path / "demo", count=1)
    found = _Session(studio, _free_ports())
    runs: list[None] = []

    @contextmanager
    def open_session(settings: SessionSettings, console: Console) -> Iterator[_Session]:
        runs.append(None)
        if len(runs) == 2:
            studio.backend.names.clear()
        yield found

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(check, "open_session", open_session)
    monkeypatch.setattr(check, "make_demo", lambda session, scenes, folder: PROJECT)
    monkeypatch.setattr(check, "CHECKS", (_passes,))
    monkeypatch.setattr(check, "abilities", lambda environment, _bank: ABLE[environment["OVDIFF_PRESET"]])
    return found


def _passes(demo: Demo) -> None:
    demo.report.add("a promise", "kept", "kept")


def _main(capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, str]:
    status = check.main([*ARGUMENTS, *more])
    return status, capsys.readouterr().out


def _failed(table: str) -> list[str]:
    return [line for line in table.splitlines() if line.startswith("FAILED")]


def test_a_demo_that_keeps_its_promises_passes(session: _Session, capsys: pytest.CaptureFixture[str]) -> None:
    status, shown = _main(capsys)
    assert (status, _failed(shown)) == (0, [])
    assert "ok  a promise" in shown
    assert shown.endswith("Contact sheet: runs/demo-check.png. 0 of 7 checks failed.\n")


def _on_their_own_studios(folder: Path, engine: str) -> tuple[Callable[[Demo], None], ...]:
    """Return all checks, in their order, on studios in memory that keep every promise of an engine."""
    whole, _ = demo_in_memory(folder, abilities=FIRST_ENGINE if engine == "ovdiff" else SECOND_ENGINE)
    sessions = {
        "check_few_words": FewWordsStudio().session(),
        "check_objects": ObjectsStudio().demo(folder).session,
        "check_answers": AnswersStudio(version="early" if engine == "ovdiff" else "final").session(),
    }

    def apart(made: Callable[[Demo], None]) -> Callable[[Demo], None]:
        session = sessions.get(made.__name__, whole.session)
        scenes = SCENES if made.__name__ == "check_objects" else whole.scenes
        return lambda demo: made(replace(whole, session=session, scenes=scenes, report=demo.report))

    return tuple(map(apart, CHECKS))


@pytest.mark.parametrize(
    ("engine", "made", "left_out"),
    [
        (
            "ovdiff",
            62,
            [
                "panoptic quality of the regions",
                "pairs of a kind, both regions of their own",
                "the added label as soon as it is known",
                "predictions of it at once",
            ],
        ),
        (
            "odise",
            60,
            [
                "categories made for an added label",
                "new prototype sets on disk",
                "prototype sets kept",
                "categories made for the photographs",
                "predictions of a task opened too early",
                "categories made by the second run",
            ],
        ),
    ],
)
def test_no_check_is_left_out_in_silence(
    session: _Session,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    engine: str,
    made: int,
    left_out: list[str],
) -> None:
    monkeypatch.setattr(few_words_check, "make_few_words", partial(make_few_words, size_px=SIZE_PX))
    monkeypatch.setattr(answer_checks, "TASK_COUNT", 7)
    monkeypatch.setattr(object_checks, "SIZE_PX", 128)
    monkeypatch.setattr(check, "CHECKS", _on_their_own_studios(tmp_path, engine))
    status, shown = _main(capsys, "--engine", engine)
    assert (status, _failed(shown)) == (0, [])
    assert f"0 of {made} checks failed. {len(left_out)} more do not fit this engine and were left out" in shown
    rows = [line.removeprefix("left out").strip() for line in shown.splitlines() if line.startswith("left out")]
    assert [row.split("  ")[0] for row in rows] == left_out


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda s: setattr(s.backend.child, "is_left", True), "left running after the first run"),
        (lambda s: setattr(s.backend, "url", f"http://{LOOPBACK}:9090"), "usual ports, which others hold"),
    ],
)
def test_what_is_left_running_and_a_port_that_was_taken_are_noticed(
    session: _Session, capsys: pytest.CaptureFixture[str], spoil: Callable[[_Session], None], expected: str
) -> None:
    spoil(session)
    status, shown = _main(capsys)
    assert status == 1
    assert any(expected in line for line in _failed(shown))


def test_a_second_run_that_builds_or_predicts_again_is_noticed(
    session: _Session, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def make_again(*_: object) -> int:
        session.maker.predict(PROJECT)
        session.maker.backend.wait_for_prototypes(PROJECT, session.maker.console)
        return PROJECT

    monkeypatch.setattr(check, "make_demo", make_again)
    status, shown = _main(capsys)
    assert status == 1
    assert [line.split("  ")[1].strip() for line in _failed(shown)] == [
        "categories made by the second run",
        "predictions after the second run",
    ]


def test_a_promise_that_cannot_be_checked_is_a_failed_row_and_the_others_go_on(
    session: _Session, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def check_something(demo: Demo) -> None:
        raise CheckError("Task 1 has 0 predictions of v1.")

    monkeypatch.setattr(check, "CHECKS", (check_something, _passes))
    status, shown = _main(capsys)
    (failed,) = _failed(shown)
    assert status == 1 and failed.startswith("FAILED  check something ")
    assert "Task 1 has 0 predictions of v1." in failed and "ok      a promise" in shown


def test_a_server_that_dies_is_a_failure_with_its_reason(session: _Session, capsys: pytest.CaptureFixture[str]) -> None:
    session.dies = ServerError("The backend exited with status 1.\nThe end of its log:")
    status, shown = _main(capsys)
    assert status == 1
    assert "The demo failed. The backend exited with status 1.\nThe end of its log:" in shown
    assert "the demo runs to its end" in _failed(shown)[0]


def test_ctrl_c_ends_the_check(session: _Session, capsys: pytest.CaptureFixture[str]) -> None:
    session.dies = KeyboardInterrupt()  # type: ignore[assignment]
    status, shown = _main(capsys)
    assert (status, shown.splitlines()[-1]) == (130, "Stopped.")


def test_the_usual_ports_are_held_meanwhile_and_given_back() -> None:
    usual = (SessionSettings.label_studio_port, SessionSettings.backend_port)
    before = [is_listening(port) for port in usual]
    with check._usual_ports_taken():
        assert all(is_listening(port) for port in usual)
    assert [is_listening(port) for port in usual] == before


def test_a_port_that_still_answers_is_left_running(session: _Session) -> None:
    report = Report()
    with socket.create_server((LOOPBACK, 0)) as server:
        port = server.getsockname()[1]
        session.label_studio.url = f"http://{LOOPBACK}:{port}"
        check._check_nothing_left(session, report, "now")
    assert [row.found for row in report.failures] == [f"port {port}"]


def test_the_sheet_goes_where_it_is_wanted() -> None:
    options = check._parser().parse_args([*ARGUMENTS, "--sheet", "elsewhere.png"])
    assert (options.sheet, options.scenes) == (Path("elsewhere.png"), 1)

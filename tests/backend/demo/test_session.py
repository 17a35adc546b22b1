import fcntl
import io
import signal
from collections.abc import Mapping
from pathlib import Path

import pytest

from backend.demo import backend_server
from backend.demo.console import Console
from backend.demo.errors import DemoError, ServerError
from backend.demo.processes import ProcessGroups
from backend.demo.session import SessionSettings, open_session

_NOWHERE = Path("no-such/label-studio")


def test_two_demos_do_not_share_a_folder(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        session = open_session(SessionSettings(_NOWHERE, tmp_path), Console(io.StringIO()))
        with pytest.raises(DemoError, match=r"Another demo is running on .*--folder"), session:
            pass


def test_a_missing_label_studio_says_how_to_get_it(tmp_path: Path) -> None:
    session = open_session(SessionSettings(_NOWHERE, tmp_path, tmp_path), Console(io.StringIO()))
    with pytest.raises(ServerError, match=r"no Label Studio at no-such/label-studio\. `make setup`"), session:
        pass


@pytest.mark.parametrize(("at_once", "again", "begun"), [(True, False, 1), (True, True, 0), (False, False, 0)])
def test_a_new_folder_s_anchors_are_begun_before_label_studio_starts(
    at_once: bool, again: bool, begun: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []

    def begin(folder: Path, groups: ProcessGroups, settings: Mapping[str, str]) -> None:
        asked.append(folder)

    def start(*_: object) -> None:
        assert len(asked) == begun
        raise ServerError("Label Studio is started last.")

    monkeypatch.setattr(backend_server, "begin_anchors", begin)
    monkeypatch.setattr("backend.demo.session._start_label_studio", start)
    if again:
        (tmp_path / "backend").mkdir()
    (studio := tmp_path / "label-studio").touch()
    settings = SessionSettings(studio, tmp_path, anchors_at_once=at_once)
    with pytest.raises(ServerError, match="started last"), open_session(settings, Console(io.StringIO())):
        pass
    assert asked == [tmp_path / "backend"] * begun


def test_a_failed_start_gives_the_folder_and_the_signals_back(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    for _ in range(2):
        with (
            pytest.raises(ServerError),
            open_session(SessionSettings(_NOWHERE, tmp_path), Console(io.StringIO())),
        ):
            pass
    assert signal.getsignal(signal.SIGTERM) == before
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]

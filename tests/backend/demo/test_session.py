import fcntl
import io
import signal
from pathlib import Path

import pytest

from backend.demo.console import Console
from backend.demo.errors import DemoError, ServerError
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

import errno
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from backend.errors import DataFolderError
from backend.serving.data_folder import LOCK_FILE, DataFolder

ROOT = Path(__file__).parents[3]
BACKEND = """
import sys, time
from pathlib import Path
from backend.settings import Settings
from backend.serving.http.app import create_app
from tests.fakes.engine import FakeEngine
folder = Path(sys.argv[1])
create_app(Settings(data_dir=folder), FakeEngine(folder / "bank"))
print("started", flush=True)
time.sleep(60)
"""


def backend(folder: Path) -> subprocess.Popen[str]:
    """Start a backend of its own, as each worker of a server of several processes would be."""
    command = [sys.executable, "-c", BACKEND, str(folder)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_second_backend_on_a_data_folder_does_not_start(tmp_path: Path) -> None:
    first = backend(tmp_path)
    assert first.stdout is not None
    try:
        assert first.stdout.readline() == "started\n"
        with backend(tmp_path) as second:
            output, errors = second.communicate(timeout=60)
        assert (second.returncode, output) == (1, "")
        told = rf"DataFolderError: Another backend \(process {first.pid} on \S+\) uses the data folder {tmp_path}\."
        assert re.search(told, errors)
        first.send_signal(signal.SIGKILL)  # which leaves no time to tidy up
        first.wait(60)
        with backend(tmp_path) as third:
            assert third.stdout is not None
            assert third.stdout.readline() == "started\n"
            third.kill()
    finally:
        first.kill()
        first.communicate()


def test_a_released_folder_can_be_taken_again(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder"
    folder = DataFolder(path)
    with pytest.raises(DataFolderError, match=rf"process {os.getpid()} on .* OVDIFF_DATA_DIR\. One backend is one"):
        DataFolder(path)
    folder.release()
    folder.release()
    DataFolder(path).release()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(DataFolderError, match=rf"Cannot write in the data folder {file}: .*Set OVDIFF_DATA_DIR"):
        DataFolder(file)


def test_a_full_disk_does_not_keep_the_folder_from_being_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.pwrite", refuse)
    folder = DataFolder(tmp_path)
    with pytest.raises(DataFolderError, match=r"Another backend \(of unknown number\)"):
        DataFolder(tmp_path)
    folder.release()


def test_a_file_system_without_locks_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", refuse)
    DataFolder(tmp_path).release()
    assert "cannot be locked ([Errno 95] Operation not supported): see that no second process" in caplog.text
    assert (tmp_path / LOCK_FILE).is_file()

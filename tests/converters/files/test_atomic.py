"""Files and folders that appear whole or not at all, whoever else writes them and whatever was killed before."""

import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from converters.files.atomic import (
    LEFT_OVER_S,
    delete_folder,
    delete_left_overs,
    whole_file,
    whole_folder,
    whole_text_file,
    write_whole,
)


@pytest.fixture
def umask() -> Iterator[int]:
    before = os.umask(0o027)
    yield 0o027
    os.umask(before)


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


# ---------------------------------------------------------------- files


def test_a_file_has_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "out.bin"
    with whole_file(path) as file:
        file.write(b"one")
        assert not path.exists()
    assert path.read_bytes() == b"one"
    with whole_text_file(path) as text:
        text.write("zwölf\n")
        text.flush()
        assert path.read_bytes() == b"one"
    assert path.read_text("utf-8") == "zwölf\n"
    write_whole(path, b"three")
    assert path.read_bytes() == b"three" and _names(path.parent) == ["out.bin"]


@pytest.mark.parametrize("reason", [KeyError, KeyboardInterrupt, OSError])
def test_an_exception_in_the_middle_leaves_nothing_and_keeps_the_old_file(
    tmp_path: Path, reason: type[BaseException]
) -> None:
    path = tmp_path / "out.txt"
    path.write_text("old")
    for opened in (whole_file(path), whole_text_file(path), whole_file(tmp_path / "other")):
        with pytest.raises(reason), opened as file:
            file.write(b"half" if "b" in file.mode else "half")  # type: ignore[arg-type]
            file.flush()
            raise reason
    assert path.read_text() == "old" and _names(tmp_path) == ["out.txt"]


def test_what_a_killed_process_of_the_same_number_left_is_in_nobodys_way(tmp_path: Path) -> None:
    # A container that is started again gives its processes the numbers that they had before.
    for name in (f".out.{os.getpid()}.partial", f".out.txt.{os.getpid()}.partial", f"out.txt.{os.getpid()}"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "half").touch()
    write_whole(tmp_path / "out.txt", b"new")
    with whole_folder(tmp_path / "out") as folder:
        (folder / "a").touch()
    assert (tmp_path / "out.txt").read_bytes() == b"new" and (tmp_path / "out" / "a").is_file()


def test_two_threads_that_write_one_file_at_once_both_write_it_whole(tmp_path: Path) -> None:
    path, both_are_open = tmp_path / "out.bin", threading.Barrier(2)
    failures: list[BaseException] = []

    def write(letter: bytes) -> None:
        try:
            with whole_file(path) as file:
                file.write(letter * 1000)
                both_are_open.wait(10)
                file.write(letter * 1000)
        except BaseException as error:  # noqa: BLE001  a thread's own would only be printed
            failures.append(error)

    threads = [threading.Thread(target=write, args=(letter,)) for letter in (b"a", b"b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert path.read_bytes() in (b"a" * 2000, b"b" * 2000) and _names(tmp_path) == ["out.bin"]


def test_permissions_are_those_of_a_file_that_is_simply_opened(tmp_path: Path, umask: int) -> None:
    write_whole(tmp_path / "file", b"")
    with whole_folder(tmp_path / "folder"):
        pass
    with whole_folder(tmp_path / "mine", mode=0o700):
        pass
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("file", "folder", "mine")]
    assert modes == [0o666 & ~umask, 0o777 & ~umask, 0o700]


def test_only_a_file_is_replaced_by_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(FileExistsError, match="a folder or a device has this name: name a file"):
            write_whole(tmp_path / name, b"new")
    assert (tmp_path / "pipe").is_fifo() and _names(tmp_path) == ["folder", "pipe"]


def test_the_content_is_on_the_disk_before_the_name_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, seen = tmp_path / "out", []
    sync = os.fsync

    def fsync(handle: int) -> None:
        is_file = stat.S_ISREG(os.fstat(handle).st_mode)
        seen.append(("file" if is_file else "folder", os.fstat(handle).st_size if is_file else 0, path.exists()))
        sync(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    write_whole(path, b"12345")
    assert seen == [("file", 5, False), ("folder", 0, True)]


@pytest.mark.parametrize("letter", ["n", "é", "🦊"])
def test_a_name_may_be_as_long_as_the_file_system_allows(tmp_path: Path, letter: str) -> None:
    name = letter * (255 // len(letter.encode()))
    write_whole(tmp_path / name, b"new")
    assert _names(tmp_path) == [name]


# ---------------------------------------------------------------- folders


def test_a_folder_has_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder"
    with whole_folder(path) as partial:
        (partial / "a").write_text("a")
        assert not path.exists() and partial.parent == path.parent
    assert (path / "a").read_text() == "a" and _names(path.parent) == ["folder"]


def test_a_folder_that_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), whole_folder(tmp_path / "folder") as partial:
        (partial / "a").write_text("a")
        raise KeyboardInterrupt
    assert _names(tmp_path) == []


def test_a_folder_that_holds_something_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "old").touch()
    (tmp_path / "file").touch()
    for name in ("folder", "file"):
        with pytest.raises(OSError, match=name), whole_folder(tmp_path / name) as partial:
            (partial / "new").touch()
    assert _names(tmp_path) == ["file", "folder"] and _names(tmp_path / "folder") == ["old"]


def test_another_writers_folder_may_be_as_good(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "folder", keep_existing=True) as ours:
        (ours / "ours").touch()
        with whole_folder(tmp_path / "folder", keep_existing=True) as theirs:
            (theirs / "theirs").touch()
    assert _names(tmp_path) == ["folder"] and _names(tmp_path / "folder") == ["theirs"]
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError), whole_folder(tmp_path / "file", keep_existing=True):
        pass


def test_a_deleted_folder_is_gone_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    monkeypatch.setattr("shutil.rmtree", lambda path, **_: None)  # killed before anything was deleted
    delete_folder(tmp_path / "folder")
    assert not (tmp_path / "folder").exists() and len(_names(tmp_path)) == 1
    monkeypatch.undo()
    (left_over,) = tmp_path.iterdir()
    _age(left_over / "inner", 2 * LEFT_OVER_S)
    _age(left_over, 2 * LEFT_OVER_S)
    delete_left_overs(tmp_path)
    delete_folder(tmp_path / "folder")  # nothing happens where there is none
    assert _names(tmp_path) == []


# ---------------------------------------------------------------- what killed processes left

_KILLED = """
import os, signal, sys
from pathlib import Path
from converters.files.atomic import whole_file, whole_folder

with whole_file(Path(sys.argv[1], "file")) as file, whole_folder(Path(sys.argv[1], "folder")) as folder:
    file.write(b"half")
    (folder / "inner").mkdir()
    (folder / "inner" / "half").touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_deleted_when_it_is_old(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", _KILLED, str(tmp_path)], check=False)
    assert len(_names(tmp_path)) == 2
    (tmp_path / ".mine.partial").touch()
    delete_left_overs(tmp_path)
    assert len(_names(tmp_path)) == 3  # all of it may belong to a process that is running
    for path in (*tmp_path.rglob("*"), *tmp_path.iterdir()):
        _age(path, LEFT_OVER_S + 60)
    (half,) = tmp_path.rglob("inner/half")
    _age(half, 0)
    delete_left_overs(tmp_path, "other")
    assert len(_names(tmp_path)) == 3
    delete_left_overs(tmp_path)
    assert [name.split(".")[1] for name in _names(tmp_path)] == ["folder", "mine"]  # something in it was just written
    _age(half, LEFT_OVER_S + 60)
    delete_left_overs(tmp_path, "folder")
    assert _names(tmp_path) == [".mine.partial"]


def test_left_overs_of_a_folder_that_is_not_there_are_none(tmp_path: Path) -> None:
    delete_left_overs(tmp_path / "nowhere")
    assert _names(tmp_path) == []

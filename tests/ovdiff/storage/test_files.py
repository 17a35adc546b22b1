import os
import threading
from pathlib import Path

import pytest

from ovdiff.errors import StorageError
from ovdiff.storage import place
from ovdiff.storage.conditional import read_version, replace
from ovdiff.storage.files import delete_folder, delete_left_overs, locked, write_whole
from ovdiff.storage.leases import LeaseState
from ovdiff.storage.sealed import keep_sealed, read_sealed
from ovdiff.storage.stored_path import StoredPath


@pytest.fixture
def folder(place_for: str) -> Path:
    return place(f"{place_for}/bank", 20.0)


def test_a_file_is_replaced_and_leaves_nothing_beside_it(folder: Path) -> None:
    for data in (b"1", b"2"):
        write_whole(folder / "a.json", data)
    assert (folder / "a.json").read_bytes() == b"2" and [path.name for path in folder.iterdir()] == ["a.json"]


def test_what_a_killed_process_left_where_puts_are_not_whole_is_deleted_after_an_hour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = place(f"local://{tmp_path}/bank", 0.0)
    write_whole(stored / "a.json", b"1")

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("fsspec.implementations.local.LocalFileSystem.mv", die)
        for name in ("old.json", "new.json"):
            with pytest.raises(KeyboardInterrupt):
                write_whole(stored / name, b"half")
    old, new = (next((tmp_path / "bank").glob(f".{name}.*.partial")) for name in ("old.json", "new.json"))
    for path in (old, tmp_path / "bank/a.json"):
        os.utime(path, (1, 1))
    delete_left_overs(stored)
    assert sorted(path.name for path in (tmp_path / "bank").iterdir()) == sorted(["a.json", new.name])


def test_a_locked_folder_is_one_holders_at_a_time(folder: Path) -> None:
    write_whole(folder / "count", b"0")

    def add() -> None:
        for _ in range(3):
            with locked(folder):
                write_whole(folder / "count", b"%d" % (int((folder / "count").read_bytes()) + 1))

    threads = [threading.Thread(target=add) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (folder / "count").read_bytes() == b"6" and [path.name for path in folder.iterdir()] == ["count"]


def test_a_folder_is_deleted_with_all_its_files(folder: Path) -> None:
    for name in ("a", "checksums.json", "deep/b"):
        write_whole(folder / "gone" / name, b"x")
    write_whole(folder / "kept", b"x")
    delete_folder(folder / "gone")
    delete_folder(folder / "gone")
    assert [path.name for path in folder.iterdir()] == ["kept"]


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    return place(f"memory://{tmp_path.name}-{id(tmp_path)}")


def test_what_a_lock_guards_is_not_written_by_whom_it_was_taken_from(stored: Path) -> None:
    write_whole(stored / "bank" / "card", b"0")
    with (
        pytest.raises(StorageError, match=r"folder\.lease belongs to bob by now.*do the same again"),
        locked(stored / "bank"),
    ):
        found = read_version(stored / "bank" / "folder.lease")
        assert found is not None
        assert replace(stored / "bank" / "folder.lease", LeaseState("bob", "b", 0, 60.0).to_bytes(), found.name)
        write_whole(stored / "elsewhere", b"free")
        write_whole(stored / "bank" / "card", b"1")
    assert (stored / "bank" / "card").read_bytes() == b"0" and (stored / "elsewhere").read_bytes() == b"free"
    assert (stored / "bank" / "folder.lease").read_bytes() == LeaseState("bob", "b", 0, 60.0).to_bytes()


def test_a_write_under_a_lock_waits_for_a_storage_that_is_away(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual, failures = StoredPath.write_bytes, iter([True, False])

    def failing(self: StoredPath, data: bytes) -> None:
        if self.name == "card" and (is_away := next(failures, None)) is not None:
            raise StorageError("It cannot be written.", is_away=is_away)
        usual(self, data)

    monkeypatch.setattr(StoredPath, "write_bytes", failing)
    with pytest.raises(StorageError), locked(stored):
        write_whole(stored / "card", b"1")  # tried again after the first error, and not after the second
    with locked(stored):
        write_whole(stored / "card", b"2")
    assert (stored / "card").read_bytes() == b"2"


def test_a_folder_that_is_half_deleted_is_none(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_sealed(stored / "batch", {"a": b"x", "z": b"y"}, "The batch %s is damaged")
    usual, left = StoredPath.unlink, [1]

    def dying(self: StoredPath, missing_ok: bool = False) -> None:
        if not left:
            raise KeyboardInterrupt
        left.pop()
        usual(self, missing_ok)

    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
        killed.setattr(StoredPath, "unlink", dying)
        delete_folder(stored / "batch")
    assert not (stored / "batch" / "checksums.json").exists() and (stored / "batch" / "a").exists()
    assert read_sealed(stored / "batch", "The batch %s is damaged") is None

import threading
from pathlib import Path

import pytest

from ovdiff.storage import place
from ovdiff.storage.files import delete_folder, locked, write_whole


@pytest.fixture(params=["folder", "s3"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / "bank" if request.param == "folder" else place(f"{request.getfixturevalue('bucket')}/bank", 20.0)


def test_a_file_is_replaced_and_leaves_nothing_beside_it(folder: Path) -> None:
    for data in (b"1", b"2"):
        write_whole(folder / "a.json", data)
    assert (folder / "a.json").read_bytes() == b"2" and [path.name for path in folder.iterdir()] == ["a.json"]


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

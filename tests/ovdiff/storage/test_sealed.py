import logging
from pathlib import Path

import pytest

from converters.files import sealed
from ovdiff.storage import place
from ovdiff.storage.files import write_whole
from ovdiff.storage.sealed import keep_sealed, read_sealed
from ovdiff.storage.stored_path import StoredPath

FILES = {"0000.png": b"picture", "batch.json": b"{}"}
DAMAGED = "The batch %s is damaged"


@pytest.fixture
def folder(place_for: str) -> Path:
    return place(f"{place_for}/batch", 20.0)


def test_a_folder_is_kept_and_read_whole(folder: Path) -> None:
    assert read_sealed(folder, DAMAGED) is None
    keep_sealed(folder, FILES, DAMAGED)
    assert read_sealed(folder, DAMAGED) == FILES
    keep_sealed(folder, {"other": b"x"}, DAMAGED)
    assert read_sealed(folder, DAMAGED) == FILES, "what is whole stays"


def test_a_folder_has_the_same_files_at_either_place(folder: Path, tmp_path: Path) -> None:
    keep_sealed(folder, FILES, DAMAGED)
    (tmp_path / "plain").mkdir()
    sealed.write_sealed(tmp_path / "plain", FILES)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        path.name: path.read_bytes() for path in (tmp_path / "plain").iterdir()
    }


def test_a_damaged_folder_is_logged_and_replaced(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    keep_sealed(folder, FILES, DAMAGED)
    write_whole(folder / "0000.png", b"other")
    with caplog.at_level(logging.WARNING):
        assert read_sealed(folder, DAMAGED) is None
    assert f"The batch {folder} is damaged: 0000.png does not match its checksum." in caplog.text
    keep_sealed(folder, FILES, DAMAGED)
    assert read_sealed(folder, DAMAGED) == FILES


@pytest.mark.parametrize("step", range(3))
def test_what_a_killed_writer_left_in_a_storage_is_no_folder_yet(
    step: int, bucket: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, write, written = place(f"{bucket}/batch", 20.0), StoredPath.write_bytes, list[str]()

    def killed(path: StoredPath, data: bytes) -> None:
        if len(written) == step:
            raise KeyboardInterrupt
        write(path, data)
        written.append(path.name)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(StoredPath, "write_bytes", killed)
        keep_sealed(folder, FILES, DAMAGED)
    with caplog.at_level(logging.WARNING):
        assert read_sealed(folder, DAMAGED) is None
    assert caplog.text == "" and len(written) == step
    keep_sealed(folder, FILES, DAMAGED)
    assert read_sealed(folder, DAMAGED) == FILES


def test_a_writer_that_is_killed_at_any_file_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = place(f"memory://{tmp_path.name}-sealed/batch")
    usual = StoredPath.write_bytes
    for whole in range(len(FILES) + 1):
        left = [None] * whole

        def dying(self: StoredPath, data: bytes, left: list[None] = left) -> None:
            if not left:
                raise KeyboardInterrupt
            left.pop()
            usual(self, data)

        with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
            killed.setattr(StoredPath, "write_bytes", dying)
            keep_sealed(folder, FILES, DAMAGED)
        assert not (folder / "checksums.json").exists() and read_sealed(folder, DAMAGED) is None
    keep_sealed(folder, FILES, DAMAGED)
    assert read_sealed(folder, DAMAGED) == FILES

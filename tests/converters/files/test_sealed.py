import logging
from pathlib import Path

import pytest

from converters.files.sealed import CHECKSUMS, read_sealed, write_sealed

FILES = {"a.txt": b"one", "b.bin": b"\0\1"}


def test_what_is_sealed_is_read(tmp_path: Path) -> None:
    write_sealed(tmp_path, FILES)
    assert read_sealed(tmp_path, "%s is damaged") == FILES
    assert read_sealed(tmp_path / "absent", "%s is damaged") is None


@pytest.mark.parametrize("fault", ["changed", "deleted", "no checksums", "empty checksums", "no mapping"])
def test_a_damaged_folder_is_logged_and_not_used(fault: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_sealed(tmp_path, FILES)
    if fault == "changed":
        (tmp_path / "a.txt").write_bytes(b"two")
    elif fault == "deleted":
        (tmp_path / "a.txt").unlink()
    elif fault == "no checksums":
        (tmp_path / CHECKSUMS).unlink()
    else:
        (tmp_path / CHECKSUMS).write_text("{}" if fault == "empty checksums" else "3")
    with caplog.at_level(logging.WARNING):
        assert read_sealed(tmp_path, "The things %s are damaged") is None
    assert f"The things {tmp_path} are damaged: " in caplog.text

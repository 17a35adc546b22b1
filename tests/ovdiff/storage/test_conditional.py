"""What is written by condition, on storages that keep no condition or answer oddly; S3 itself is in test_leases.py."""

import errno
import io
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from ovdiff.errors import StorageError
from ovdiff.storage import conditional
from ovdiff.storage.conditional import create, read_version, replace
from ovdiff.storage.stored_path import StoredPath, StoredStatus


class AnsweredError(Exception):
    """As botocore's ClientError."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.response = {"Error": {"Code": code}}


class OddS3:
    """A server that speaks S3 in its own way, in place of fsspec's file system."""

    def __init__(self, refusal: Exception | None = None) -> None:
        self.files: dict[str, bytes] = {}
        self.refusal, self.puts = refusal, 0
        self.on_read: Callable[[], object] = lambda: None

    def pipe_file(self, at: str, data: bytes, **condition: Any) -> dict[str, str]:
        if condition and self.refusal is not None:
            raise OSError("refused") from self.refusal
        self.puts += 1
        self.files[at] = data
        return {"ETag": data.decode()}

    def cat_file(self, at: str) -> bytes:
        data = self.files[at]
        self.on_read()
        return data


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[OddS3]:
    odd = OddS3()

    def status(path: StoredPath) -> StoredStatus:
        if path.address not in odd.files:
            raise FileNotFoundError(path.address)
        return StoredStatus(0, 0, 0, odd.files[path.address].decode())

    monkeypatch.setattr(StoredPath, "fs_and_path", lambda path: (odd, path.address))
    monkeypatch.setattr(StoredPath, "stat", status)
    monkeypatch.setattr(conditional, "_keeps_conditions", {})
    yield odd


def test_a_file_that_could_not_be_written_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class FullDisk(io.BytesIO):
        def write(self, data: Any) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    open_file = Path.open
    monkeypatch.setattr(Path, "open", lambda self, mode: open_file(self, mode).close() or FullDisk())
    with pytest.raises(OSError, match="No space left"):
        create(tmp_path / "x.lease", b"mine")
    monkeypatch.undo()
    assert create(tmp_path / "x.lease", b"mine") == "mine"


FILE = cast(Path, StoredPath("s3://bucket/x.lease", 0.0))


def test_a_server_that_ignores_conditions_is_found_out_once(server: OddS3, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert create(FILE, b"1") == "1"
    assert "s3://bucket does not keep the condition of a put" in caplog.text
    assert replace(FILE, b"2", "1") == "2", "it is looked at, and then written"
    assert replace(FILE, b"3", "1") is None and server.files[str(FILE)] == b"2"
    server.puts = 0
    assert replace(FILE, b"4", "2") == "4" and server.puts == 1


@pytest.mark.parametrize("code", ["NotImplemented", "501"])
def test_a_server_that_knows_no_conditions_is_looked_at(server: OddS3, code: str) -> None:
    server.refusal = AnsweredError(code)
    assert create(FILE, b"1") == "1"
    assert create(FILE, b"2") is None and replace(FILE, b"3", "other") is None
    assert replace(FILE, b"3", "1") == "3"


@pytest.mark.parametrize("code", ["AccessDenied", "InternalError"])
def test_a_server_that_refuses_is_not_written_to_without_the_condition(server: OddS3, code: str) -> None:
    server.refusal = AnsweredError(code)
    with pytest.raises(StorageError, match="cannot be written"):
        create(FILE, b"1")
    assert server.files == {}


def test_bytes_and_version_that_are_not_of_one_moment_are_read_again(server: OddS3) -> None:
    server.files[str(FILE)] = b"1"

    def change() -> None:
        server.files[str(FILE)] = b"2"
        server.on_read = lambda: None

    server.on_read = change
    assert read_version(FILE) == (b"2", "2")


def test_a_storage_of_another_kind_that_refuses_is_not_written_to_either(
    server: OddS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = cast(Path, StoredPath("oss://bucket/x.lease", 0.0))

    def refused(at: str, data: bytes, mode: str = "overwrite") -> None:
        if mode == "create":
            raise error
        server.files[at] = data

    monkeypatch.setattr(server, "pipe_file", refused)
    error: Exception = PermissionError("denied")
    with pytest.raises(StorageError, match="denied"):
        create(file, b"1")
    assert server.files == {}
    error = ValueError("mode not supported")
    assert create(file, b"1") == "1"


class ForgetfulGoogle:
    """A server that speaks Google's protocol, gives each put a new generation and looks at no precondition."""

    _location = "https://host"

    def __init__(self) -> None:
        self.files: dict[str, tuple[bytes, int]] = {}

    def split_path(self, at: str) -> tuple[str, str, None]:
        bucket, _, key = at.removeprefix("gs://").partition("/")
        return bucket, key, None

    def call(self, method: str, url: str, *, name: str, data: bytes, **_: Any) -> dict[str, str]:
        assert method == "POST" and url == "https://host/upload/storage/v1/b/bucket/o"
        self.pipe_file(f"gs://bucket/{name}", data)
        return {"generation": self.info(f"gs://bucket/{name}")["generation"]}

    def pipe_file(self, at: str, data: bytes, mode: str = "overwrite") -> None:
        self.files[at] = (data, sum(number for _, number in self.files.values()) + 1)

    def info(self, at: str) -> dict[str, str]:
        if at not in self.files:
            raise FileNotFoundError(at)
        return {"generation": str(self.files[at][1])}

    def cat_file(self, at: str) -> bytes:
        return self.files[at][0]


def test_a_version_that_changed_because_conditions_were_tried_is_the_one_that_counts(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server, file = ForgetfulGoogle(), cast(Path, StoredPath("gs://bucket/x.lease", 0.0))
    monkeypatch.setattr(StoredPath, "fs_and_path", lambda path: (server, path.address))
    monkeypatch.setattr(conditional, "_keeps_conditions", {})
    with caplog.at_level(logging.WARNING):
        version = create(file, b"1")
    assert "gs://bucket does not keep the condition of a put" in caplog.text
    assert version is not None and read_version(file) == (b"1", version)
    assert replace(file, b"2", "other") is None
    assert (second := replace(file, b"2", version)) is not None and read_version(file) == (b"2", second)

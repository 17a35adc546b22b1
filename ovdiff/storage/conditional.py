"""A file that several machines write in turn: it is made only if it is not there, and replaced only if it is as it was.

On this machine a folder's lock keeps these two steps together. S3 does so itself, by conditional puts (If-None-Match
and If-Match); AWS and moto know them. Of other storages fsspec can ask the first alone, and some copies of S3 know
neither: there a file is read once more after it was written, and two machines that write in the same moment may both
believe that they were alone.

Tested by tests/ovdiff/storage/test_leases.py on a server that speaks S3.
"""

import contextlib
from pathlib import Path
from typing import Any, NamedTuple, cast

from converters.files import atomic, folder_lock
from ovdiff.errors import StorageError
from ovdiff.storage.stored_path import StoredPath

_S3 = ("s3", "s3a")
_REFUSED = {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}
_UNKNOWN = {"NotImplemented", "501"}


class Version(NamedTuple):
    """What a file held when it was read: its bytes, and the name that the storage has for them."""

    data: bytes
    name: str


def read_version(path: Path) -> Version | None:
    """Return a file's bytes and the name of this version; ``None`` if there is no such file.

    Raises:
        OSError: a file of this machine cannot be read.
        StorageError: a storage refuses, or is away for too long.
    """
    try:
        if isinstance(path, Path):
            return _local(path.read_bytes())
        stored = cast(StoredPath, path)
        while True:  # Bytes and version are two questions: what changed between them is read again.
            before, data = stored.stat().version, stored.read_bytes()
            if stored.protocol not in _S3:
                return _local(data)
            if stored.stat().version == before:
                return Version(data, before)
    except FileNotFoundError:
        return None


def version_name(path: Path) -> str | None:
    """Return the name of a file's version, cheaply; ``None`` if there is no such file."""
    if isinstance(path, Path) or cast(StoredPath, path).protocol not in _S3:
        found = read_version(path)
        return None if found is None else found.name
    try:
        return cast(StoredPath, path).stat().version
    except FileNotFoundError:
        return None


def create(path: Path, data: bytes) -> str | None:
    """Write a file only if there is none of its name; return its version, or ``None`` if there is one.

    Raises:
        OSError: a folder of this machine cannot be written.
        StorageError: a storage refuses, or is away for too long.
    """
    if isinstance(path, Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with path.open("xb") as file:
                file.write(data)
        except FileExistsError:
            return None
        return _local(data).name
    return _put(cast(StoredPath, path), data, None)


def replace(path: Path, data: bytes, version: str) -> str | None:
    """Write a file only if it is still of a version; return its new version, or ``None`` if it is not.

    Raises:
        OSError: a folder of this machine cannot be written.
        StorageError: a storage refuses, or is away for too long.
    """
    if not isinstance(path, Path):
        return _put(cast(StoredPath, path), data, version)
    with contextlib.suppress(FileNotFoundError), folder_lock.locked(path.parent):
        if version_name(path) == version:
            atomic.write_whole(path, data)
            return _local(data).name
    return None


def _local(data: bytes) -> Version:
    return Version(data, data.decode("utf-8", "replace"))


def _put(path: StoredPath, data: bytes, version: str | None) -> str | None:
    """Write a stored file if it is of a version, or if there is none where the version is ``None``."""
    if path.protocol in _S3:
        condition = {"mode": "create"} if version is None else {"IfMatch": version}

        def ask(fs: Any, at: str) -> str | None:
            try:
                return str(fs.pipe_file(at, data, **condition)["ETag"])
            except OSError as error:
                code = _code(error)
                if isinstance(error, FileExistsError) or code in _REFUSED or (version and code == "NoSuchKey"):
                    return None
                if code in _UNKNOWN:
                    return ""
                raise

        if (answer := path.asked("written", ask)) != "":
            return answer
    return _put_and_look(path, data, version)


def _put_and_look(path: StoredPath, data: bytes, version: str | None) -> str | None:
    """Do the same in three steps, where a storage has no conditional put."""
    if version_name(cast(Path, path)) != version:
        return None
    if version is None:
        try:
            path.asked("written", lambda fs, at: fs.pipe_file(at, data, mode="create"))
        except FileExistsError:
            return None
        except StorageError:
            path.write_bytes(data)
    else:
        path.write_bytes(data)
    found = read_version(cast(Path, path))
    return found.name if found is not None and found.data == data else None


def _code(error: BaseException) -> str:
    """Return S3's own code for an error; "" if the error is none of S3's answers."""
    response = getattr(error.__cause__, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))

"""A file that several machines write in turn: it is made only if it is not there, and replaced only if it is as it was.

On this machine a folder's lock keeps these two steps together. S3, Azure and Google do so themselves, by conditional
puts (`ovdiff.storage.conditional_puts`). Of other storages fsspec can ask the first alone, and some copies of S3 know
neither, or take a condition and do not keep it, which is found out once for each bucket: there a file is read once
more after it was written, and two machines that write in the same moment may both believe that they were alone.

Tested by tests/ovdiff/storage/test_leases.py on servers that speak S3, Azure's and Google's protocols.
"""

import contextlib
import logging
import threading
from pathlib import Path
from typing import NamedTuple, cast

from converters.files import atomic, folder_lock
from ovdiff.errors import StorageError
from ovdiff.storage.conditional_puts import CONDITIONAL_PUTS, UNKNOWN, ConditionalPut, is_not_implemented
from ovdiff.storage.stored_path import StoredPath

_keeps_conditions: dict[str, bool] = {}
"""Whether a bucket keeps the condition of a put, by the bucket's address, once it was tried."""
_trying = threading.Lock()
_log = logging.getLogger(__name__)


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
            if stored.protocol not in CONDITIONAL_PUTS:
                return _local(data)
            if stored.stat().version == before:
                return Version(data, before)
    except FileNotFoundError:
        return None


def version_name(path: Path) -> str | None:
    """Return the name of a file's version, cheaply; ``None`` if there is no such file."""
    if isinstance(path, Path) or cast(StoredPath, path).protocol not in CONDITIONAL_PUTS:
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
            file = path.open("xb")
        except FileExistsError:
            return None
        try:
            with file:
                file.write(data)
        except BaseException:  # such as of a full disk: half a file would be taken for somebody's
            path.unlink(missing_ok=True)
            raise
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


def delete(path: Path, version: str) -> None:
    """Delete a file only if it is still of a version.

    A storage has no such question: who wants to be sure writes the file anew before, so that nobody replaces it for a
    while.

    Raises:
        OSError: a file of this machine cannot be deleted.
        StorageError: a storage refuses, or is away for too long.
    """
    local = isinstance(path, Path)
    with contextlib.suppress(FileNotFoundError), folder_lock.locked(path.parent) if local else contextlib.nullcontext():
        if version_name(path) == version:
            path.unlink(missing_ok=True)


def _local(data: bytes) -> Version:
    return Version(data, data.decode("utf-8", "replace"))


def _put(path: StoredPath, data: bytes, version: str | None) -> str | None:
    """Write a stored file if it is of a version, or if there is none where the version is ``None``."""
    put = CONDITIONAL_PUTS.get(path.protocol)
    if put is not None and _keeps_conditions.get(_bucket(path), True):
        answer = path.asked("written", lambda fs, at: put(fs, at, data, version))
        if answer:
            return _try_conditions(path, data, put) or answer
        if answer != UNKNOWN:
            return answer
    return _put_and_look(path, data, version)


def _bucket(path: StoredPath) -> str:
    return "/".join(path.address.split("/")[:3])


def _try_conditions(path: StoredPath, data: bytes, put: ConditionalPut) -> str | None:
    """Find out, once for each bucket, whether it keeps conditions: make the file that was written just now again.

    Returns:
        the version of the file that was made again, because the bucket does not keep them; else ``None``.
    """
    bucket = _bucket(path)
    with _trying:
        if bucket in _keeps_conditions:
            return None
        again = path.asked("written", lambda fs, at: put(fs, at, data, None))
        if again is not None:
            _log.warning("%s does not keep the condition of a put: two machines may do the same work.", bucket)
        _keeps_conditions[bucket] = again is None
    return again


def _put_and_look(path: StoredPath, data: bytes, version: str | None) -> str | None:
    """Do the same in three steps, where a storage has no conditional put."""
    if version_name(cast(Path, path)) != version:
        return None
    if version is None and not _makes(path, data):
        return None
    if version is not None:
        path.write_bytes(data)
    found = read_version(cast(Path, path))
    return found.name if found is not None and found.data == data else None


def _makes(path: StoredPath, data: bytes) -> bool:
    """Make a file, only if there is none where the storage can say so."""
    try:
        path.asked("written", lambda fs, at: fs.pipe_file(at, data, mode="create"))
    except FileExistsError:
        return False
    except StorageError as error:
        if not is_not_implemented(error.__cause__):
            raise
        path.write_bytes(data)
    return True

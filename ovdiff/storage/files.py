"""Whole files at either place: local ones under a temporary name that is then taken, stored ones by one put.

For a folder of this machine each function is the one of `converters.files`, so its files are the same to the byte.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from converters.files import atomic, folder_lock
from ovdiff.storage.leases import Leases
from ovdiff.storage.stored_path import StoredPath

_LOCK_S = 20.0
"""How long the lock of a folder in a storage outlives a process that was killed: what is done under it is short."""


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that appears whole or not at all, in the place of one that has the name.

    Raises:
        OSError: a file of this machine cannot be written.
        StorageError: a storage refuses, or is away for too long.
    """
    if isinstance(path, Path):
        atomic.write_whole(path, data)
    else:
        cast(StoredPath, path).write_bytes(data)


def delete_left_overs(folder: Path) -> None:
    """Delete what killed processes left half written, where a put is not whole by itself.

    Raises:
        StorageError: a storage refuses, or is away for too long.
    """
    if isinstance(folder, Path):
        atomic.delete_left_overs(folder)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a folder against other threads, processes and machines that lock it, after waiting for their locks.

    In a storage the lock is a lease: the file ``folder.lease``. It costs two questions, and ends by itself some seconds
    after its holder was killed.

    Raises:
        OSError: a folder of this machine is not there, or cannot be opened.
        StorageError: a storage refuses, or is away for too long.
    """
    if isinstance(folder, Path):
        with folder_lock.locked(folder):
            yield
    else:
        with Leases(folder, lasts_s=_LOCK_S).held("folder"):
            yield


def delete_folder(folder: Path) -> None:
    """Delete a folder with all its files. Nothing happens where there is none.

    In a storage the file that seals a folder goes first, so that no reader takes the rest for whole.

    Raises:
        OSError: a folder of this machine cannot be deleted.
        StorageError: a storage refuses, or is away for too long.
    """
    if isinstance(folder, Path):
        atomic.delete_folder(folder)
        return
    stored = cast(StoredPath, folder)
    for path in sorted(stored.listed(deep=True), key=lambda path: not path.name.startswith("checksums.")):
        path.unlink(missing_ok=True)

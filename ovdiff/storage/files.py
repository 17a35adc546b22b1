"""Whole files at either place: local ones under a temporary name that is then taken, stored ones by one put.

For a folder of this machine each function is the one of `converters.files`, so its files are the same to the byte.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import MappingProxyType
from typing import cast

from converters.files import atomic, folder_lock
from ovdiff.errors import StorageError
from ovdiff.storage.leases import Lease, Leases
from ovdiff.storage.stored_path import WHOLE_PUTS, StoredPath

_locks: ContextVar[Mapping[str, Lease]] = ContextVar("locks", default=MappingProxyType({}))
"""The folders of storages that this thread has locked."""
_LOCK_S = 20.0
"""How long the lock of a folder in a storage outlives a process that was killed: what is done under it is short."""


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that appears whole or not at all, in the place of one that has the name.

    Raises:
        OSError: a file of this machine cannot be written.
        StorageError: a storage refuses, is away for too long, or the lock under which this is written has ended.
    """
    if isinstance(path, Path):
        atomic.write_whole(path, data)
        return
    stored = cast(StoredPath, path)
    locks = [lease for folder, lease in _locks.get().items() if stored.address.startswith(f"{folder}/")]
    if locks:
        _write_under(locks, stored, data)
    else:
        stored.write_bytes(data)


def _write_under(locks: Sequence[Lease], stored: StoredPath, data: bytes) -> None:
    """Write a file of a locked folder. While its storage was away another machine may have locked it."""
    began_s = time.monotonic()
    while True:
        for lease in locks:
            lease.require()
        try:
            StoredPath(stored.address, patience_s=_LOCK_S / 4).write_bytes(data)
        except StorageError as error:
            if not error.is_away or time.monotonic() - began_s > stored.patience_s:
                raise
        else:
            return


def delete_left_overs(folder: Path) -> None:
    """Delete what killed processes left half written an hour ago or earlier, where a put is not whole by itself.

    The cost is one listing of the folder; none where puts are whole.

    Raises:
        StorageError: a storage refuses, or is away for too long.
    """
    if isinstance(folder, Path):
        atomic.delete_left_overs(folder)
        return
    stored = cast(StoredPath, folder)
    if stored.protocol in WHOLE_PUTS:
        return
    before_ns = (time.time() - atomic.LEFT_OVER_S) * 1e9
    for path, status in stored.listed().items():
        if atomic.is_partial(path.name) and 0 < status.st_mtime_ns < before_ns:  # 0: the storage does not say when
            path.unlink(missing_ok=True)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a folder against other threads, processes and machines that lock it, after waiting for their locks.

    In a storage the lock is a lease: the file ``folder.lease``. It ends by itself some seconds after its holder was
    killed. Whoever was away for longer than that writes nothing more into the folder: `write_whole` raises.

    Raises:
        OSError: a folder of this machine is not there, or cannot be opened.
        StorageError: a storage refuses, or is away for too long.
    """
    if isinstance(folder, Path):
        with folder_lock.locked(folder):
            yield
        return
    with Leases(folder, lasts_s=_LOCK_S).held("folder") as lease:
        assert lease is not None  # It is ``None`` where work is done already, and a lock knows of no work.
        own = _locks.set({**_locks.get(), str(folder): lease})
        try:
            yield
        finally:
            _locks.reset(own)


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

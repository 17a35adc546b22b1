"""Files and folders that appear whole or not at all: the one place where they are written under another name.

    .out.json.0123456789abcdef.partial  ── content is on the disk ── rename ──> out.json

A temporary name is unique: no other thread, no other process and no left-over of a killed process is ever in the way.
An exception deletes the temporary file or folder. A killed process cannot delete its own; `delete_left_overs` does so
later.

This module needs the standard library alone. `ovdiff` and `backend` write with it, too. Its errors are Python's own
OSError.
"""

import contextlib
import errno
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TextIO

LEFT_OVER_S = 3600.0
"""A temporary file or folder counts as left over when nothing was written to it for this many seconds.

A younger one may belong to a process that is still running.
"""

_PARTIAL = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{16}\.partial", re.DOTALL)
_NAME_CHARACTERS = 50  # of at most 4 bytes: with the rest of the temporary name fewer than the usual limit of 255
_CANNOT_SYNC = (errno.EINVAL, errno.ENOTSUP)


# ---------------------------------------------------------------- files


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a binary file that takes its name when the block ends well, replacing the file that had it.

    Missing folders above the file are made. The file gets the permissions that `open` gives a new file.

    Raises:
        OSError: the file cannot be written, or a folder or a device has its name.
    """
    with _temporary_file(path) as temporary, temporary.open("xb") as file:
        yield file
        _sync(file)


@contextmanager
def whole_text_file(path: Path) -> Iterator[TextIO]:
    """Open a text file in UTF-8 that appears as `whole_file` does."""
    with _temporary_file(path) as temporary, temporary.open("x", encoding="utf-8") as file:
        yield file
        _sync(file)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file of these bytes as `whole_file` does."""
    with whole_file(path) as file:
        file.write(data)


@contextmanager
def _temporary_file(path: Path) -> Iterator[Path]:
    """Give a temporary name to write under, and rename the file when the block ends well."""
    if path.exists() and not path.is_file():
        raise FileExistsError(errno.EEXIST, "a folder or a device has this name: name a file", str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path)
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):  # the first error says more
            temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def _sync(file: BinaryIO | TextIO) -> None:
    """Put a file's content on the disk, or a power cut would leave the new name with nothing under it."""
    file.flush()
    os.fsync(file.fileno())


# ---------------------------------------------------------------- folders


@contextmanager
def whole_folder(path: Path, *, mode: int = 0o777, keep_existing: bool = False) -> Iterator[Path]:
    """Give an empty temporary folder that takes the name `path` when the block ends well.

    A folder that has the name already is replaced only if it is empty. Missing folders above are made. The files in
    the folder are not synced here; the caller does so where it matters.

    Args:
        path: the name that the folder gets.
        mode: the permissions of the folder, before the process's umask takes some away.
        keep_existing: if another writer has finished a folder of this name meanwhile, keep that folder and delete the
            new one, instead of raising.

    Raises:
        OSError: the folder cannot be written, or something else has the name.
    """
    temporary = _temporary(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary.mkdir(mode=mode)
    try:
        yield temporary
        try:
            temporary.rename(path)
        except OSError:
            if not (keep_existing and path.is_dir()):
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    sync_folder(path.parent)


def delete_folder(path: Path) -> None:
    """Delete a folder under another name, so that no reader meets a folder that is half deleted.

    Nothing happens where there is no such folder, or where another process deletes it first.
    """
    temporary = _temporary(path)
    with contextlib.suppress(FileNotFoundError):
        path.rename(temporary)
        shutil.rmtree(temporary, ignore_errors=True)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut, where the file system can."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except PermissionError:  # a folder that may be written to and not listed
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise
    finally:
        os.close(handle)


# ---------------------------------------------------------------- what killed processes left


def is_partial(name: str) -> bool:
    """Tell whether a file or folder of this name is not whole yet."""
    return _PARTIAL.fullmatch(name) is not None


def delete_left_overs(folder: Path, name: str | None = None) -> None:
    """Delete temporary files and folders of killed processes that are older than `LEFT_OVER_S`.

    The cost is one listing of the folder.

    Args:
        folder: the folder to look in; folders inside are not searched.
        name: delete only the left-overs of the file or folder of this name (None: all left-overs).
    """
    wanted = None if name is None else name[:_NAME_CHARACTERS]
    try:
        paths = list(folder.iterdir())
    except OSError:  # it is not there, or may not be listed
        return
    for path in paths:
        found = _PARTIAL.fullmatch(path.name)
        if found is None or wanted not in (None, found["name"]) or _idle_s(path) < LEFT_OVER_S:
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):  # another process was first, or it is not ours to delete
                path.unlink()


def _idle_s(path: Path) -> float:
    """Return how many seconds ago something was last written to a file, or anywhere in a folder."""
    try:
        return time.time() - max(written.lstat().st_mtime for written in (path, *path.rglob("*")))
    except OSError:  # it is being finished or deleted while we look
        return 0.0


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name[:_NAME_CHARACTERS]}.{secrets.token_hex(8)}.partial")

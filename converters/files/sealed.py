"""Sealed folders: a folder of files, and beside them the file `checksums.json`, which says what they must hold.

A sealed folder is written as a whole (see `converters.files.atomic.whole_folder`) and read as a whole: files that do
not match their checksums are not used.
"""

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path

from converters.files.atomic import sync_folder

CHECKSUMS = "checksums.json"
_log = logging.getLogger(__name__)


def write_sealed(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files into an existing folder, and their checksums as the last file.

    Raises:
        OSError: a file cannot be written.
    """
    for name, data in {**files, CHECKSUMS: checksums_of(files)}.items():
        with (folder / name).open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    sync_folder(folder)


def checksums_of(files: Mapping[str, bytes]) -> bytes:
    """Return the content of `checksums.json` for files by their names."""
    checksums = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    return f"{json.dumps(checksums, indent=2, ensure_ascii=False)}\n".encode()


def read_sealed(folder: Path, what: str) -> dict[str, bytes] | None:
    """Return a folder's files by their names, or ``None`` if there is no such folder.

    If a file does not match its checksum, log that and return ``None``.

    Args:
        folder: the sealed folder.
        what: what the folder holds, with its verb and the consequence, for the log: "Stored support images %s are
            damaged and are made anew".
    """
    if not folder.exists():
        return None
    try:
        checksums = (folder / CHECKSUMS).read_bytes()
    except OSError as error:
        _log.warning(what + ": %s.", folder, error)
        return None
    return checked(folder, checksums, what)


def checked(folder: Path, checksums: bytes, what: str) -> dict[str, bytes] | None:
    """Return the files that a folder's checksums name, by their names; log a damage and return ``None`` for it.

    Args:
        folder: the sealed folder; whatever gives the bytes of its files as a path does.
        checksums: the content of its `checksums.json`.
        what: what is logged of a damaged folder, as in `read_sealed`.
    """
    try:
        expected = dict(json.loads(checksums))
        files = {str(name): (folder / name).read_bytes() for name in expected}
        wrong = [name for name, data in files.items() if hashlib.sha256(data).hexdigest() != expected[name]]
        if files and not wrong:
            return files
        reason = f"{wrong[0]} does not match its checksum" if wrong else f"{CHECKSUMS} names no file"
    except (OSError, ValueError, TypeError) as error:
        reason = str(error)
    _log.warning(what + ": %s.", folder, reason)
    return None

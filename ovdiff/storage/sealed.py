"""Sealed folders at either place: a folder of files that is whole or does not count (see `converters.files.sealed`).

In a storage the files are put one by one and the checksums last, and a folder without checksums is not there yet. So a
writer that is killed leaves nothing that is taken for a folder, and the next one writes over it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import cast

from converters.files import atomic, sealed
from converters.files.sealed import CHECKSUMS
from ovdiff.storage.stored_path import StoredPath


def keep_sealed(folder: Path, files: Mapping[str, bytes], damaged: str) -> None:
    """Store a folder of files. A whole one that is there already stays, a damaged one is replaced.

    Args:
        folder: the folder.
        files: the files by their names; `checksums.json` is made of them.
        damaged: what is logged of a damaged folder, as in `read_sealed`.

    Raises:
        OSError: a folder of this machine cannot be written.
        StorageError: a storage refuses, or is away for too long.
    """
    if isinstance(folder, Path):
        with atomic.whole_folder(folder, keep_existing=True) as partial:
            sealed.write_sealed(partial, files)
            if sealed.read_sealed(folder, damaged) is None:
                atomic.delete_folder(folder)
        return
    if read_sealed(folder, damaged) is None:
        for name, data in {**files, CHECKSUMS: sealed.checksums_of(files)}.items():
            cast(StoredPath, folder / name).write_bytes(data)


def read_sealed(folder: Path, damaged: str) -> dict[str, bytes] | None:
    """Return a folder's files by their names, or ``None`` if there is no such folder.

    If a file does not match its checksum, log that and return ``None``.

    Args:
        folder: the sealed folder.
        damaged: what the folder holds, with its verb and the consequence, for the log.

    Raises:
        StorageError: a storage refuses, or is away for too long.
    """
    if isinstance(folder, Path):
        return sealed.read_sealed(folder, damaged)
    try:
        checksums = (folder / CHECKSUMS).read_bytes()
    except FileNotFoundError:
        return None
    return sealed.checked(folder, checksums, damaged)

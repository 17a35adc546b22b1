"""What a person wrote as a place: a folder of this machine, or an address of a storage, such as s3://bucket/folder."""

import re
from pathlib import Path
from typing import cast

from converters.files.redaction import without_user
from ovdiff.errors import StorageError
from ovdiff.storage.patience import PATIENCE_S
from ovdiff.storage.stored_path import StoredPath

_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+)://(.*)", re.IGNORECASE | re.DOTALL)
_SQUEEZED = re.compile(r"([a-z][a-z0-9+.-]+):/[^/].*", re.IGNORECASE | re.DOTALL)


def path_or_address(text: str) -> Path | str:
    """Return a path of this machine, or the address of a storage as it was written.

    Raises:
        StorageError: the address holds a user or a password.
    """
    found = _ADDRESS.fullmatch(text)
    if found is None:
        return Path(text)
    if found[1].lower() == "file":
        return Path("/" + found[2].lstrip("/"))
    if without_user(text) != text:
        raise StorageError(
            f"{without_user(text)} holds a user or a password. Leave them out: the storage's own "
            "settings say them, such as AWS_ACCESS_KEY_ID or a profile."
        )
    return text


def place(where: str | Path, patience_s: float = PATIENCE_S) -> Path:
    """Return a place to keep files: a path of this machine, or a path in a storage, which is used as a path is.

    No storage is asked yet.

    Args:
        where: a path, an address, or what this function returned before.
        patience_s: for how many seconds a storage that is away is asked again before an error is raised.

    Raises:
        StorageError: the address is of a kind that nobody knows here, or holds a user or a password.
        MissingExtraError: the libraries for addresses are not installed.
    """
    if not isinstance(where, str | Path):
        return where
    if isinstance(where, Path):
        if _SQUEEZED.fullmatch(str(where)):
            raise StorageError(
                f"{where} is an address of which a slash was lost, because it was made a Path. Give it as text."
            )
        return where
    found = path_or_address(where)
    if isinstance(found, Path):
        return found
    stored = StoredPath(found.rstrip("/"), patience_s)
    stored.require_library()
    return cast(Path, stored)


def is_stored(path: Path) -> bool:
    """Say whether a place is an address of a storage, and no folder of this machine."""
    return not isinstance(path, Path)

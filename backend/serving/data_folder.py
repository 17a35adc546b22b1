"""One backend for each data folder: a lock on a file in it, which ends with the process, however that ends."""

from __future__ import annotations

from pathlib import Path

from backend.errors import DataFolderError, LockedError
from backend.serving.lock_file import LockFile

LOCK_FILE = "serving.lock"


class DataFolder:
    """The data folder, taken by this process until `release`.

    Two backends would both build every new category, and each would know only the label configs that it was told.
    Commands may use the folder meanwhile: prototypes and the state file are written whole or not at all.
    """

    def __init__(self, path: Path) -> None:
        """Take the folder; it is made if it is missing.

        Raises:
            DataFolderError: another backend has taken it, or nothing can be written there.
        """
        try:
            self._lock = LockFile(path / LOCK_FILE)
        except LockedError as error:
            raise DataFolderError(
                f"Another backend ({error}) uses the data folder {path}. Stop that one, or give "
                "this one a folder of its own by OVDIFF_DATA_DIR. One backend is one process: it answers in threads "
                "(OVDIFF_THREADS), not in several workers."
            ) from None

    def release(self) -> None:
        """Let another backend take the folder; a second call changes nothing."""
        self._lock.release()

"""One backend for each data folder: a lock on a file in it, which ends with the process, however that ends."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import socket
from pathlib import Path

from backend.errors import DataFolderError

logger = logging.getLogger(__name__)

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
        file = path / LOCK_FILE
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._file = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise DataFolderError(f"Cannot write in the data folder {path}: {error}. Set OVDIFF_DATA_DIR.") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(self._file, 200).decode("utf-8", "replace").strip()
            os.close(self._file)
            raise DataFolderError(
                f"Another backend ({owner or 'of unknown number'}) uses the data folder {path}. Stop that one, or give "
                "this one a folder of its own by OVDIFF_DATA_DIR. One backend is one process: it answers in threads "
                "(OVDIFF_THREADS), not in several workers."
            ) from None
        except OSError as error:  # some network file systems have no locks
            logger.warning("The data folder %s cannot be locked (%s): see that no second backend uses it.", path, error)
        with contextlib.suppress(OSError):  # a full disk: the lock holds, and the service says in /ready what it lacks
            os.truncate(self._file, 0)
            os.pwrite(self._file, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)

    def release(self) -> None:
        """Let another backend take the folder; a second call changes nothing."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

"""A lock on a file, which one process has at a time, and which ends with the process, however that ends.

Tested by tests/backend/serving/test_data_folder.py.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import socket
from pathlib import Path

from backend.errors import DataFolderError, LockedError

logger = logging.getLogger(__name__)


class LockFile:
    """A locked file, which says whose it is, until `release`."""

    def __init__(self, file: Path) -> None:
        """Lock a file; it and its folder are made if they are missing.

        Raises:
            LockedError: another process has locked it; the error says which.
            DataFolderError: nothing can be written there.
        """
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise DataFolderError(
                f"Cannot write in the data folder {file.parent}: {error}. Set OVDIFF_DATA_DIR."
            ) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(self._file, 200).decode("utf-8", "replace").strip()
            os.close(self._file)
            raise LockedError(owner or "of unknown number") from None
        except OSError as error:  # some network file systems have no locks
            logger.warning("%s cannot be locked (%s): see that no second process uses it.", file, error)
        with contextlib.suppress(OSError):  # a full disk: the lock holds all the same
            os.truncate(self._file, 0)
            os.pwrite(self._file, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)

    def release(self) -> None:
        """Let another process lock the file; a second call changes nothing."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

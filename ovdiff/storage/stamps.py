"""What has changed at a place: a stamp for each file, which differs as soon as its content does.

A file of this machine is looked at each time, which costs microseconds. In a storage each look would be a question of
some milliseconds and each segmented image would ask several for each category; so the whole folder is listed at once,
and the list holds for two seconds. While the storage is away the last list holds, so that images are segmented with
the prototypes that are in memory.
"""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

from ovdiff.errors import StorageError
from ovdiff.storage.stored_path import StoredPath

FRESH_S = 2.0
"""How long a list of a storage's files is used: what another machine changed is seen that much later."""
AWAY_S = 15.0
"""How long the last list is used further when the storage cannot be asked."""

_log = logging.getLogger(__name__)
_shared: dict[Path, "Stamps"] = {}
_sharing = threading.Lock()

Stamp = tuple[int, int, int]
"""When a file was written in ns, its bytes, and a number that differs with its content."""


class Stamps:
    """The stamps of a folder's own files. Threads may share it."""

    def __init__(self, folder: Path, *, clock_s: Callable[[], float] = time.monotonic) -> None:
        """Look at nothing yet."""
        self._folder, self._clock_s = folder, clock_s
        self._lock = threading.Lock()
        self._listed: dict[str, Stamp] = {}
        self._until_s = -1.0

    def __reduce__(self) -> tuple[Callable[[Path], "Stamps"], tuple[Path]]:
        """Say how another process makes the same: it looks anew, and shares what it sees within itself."""
        return stamps_of, (self._folder,)

    def of(self, path: Path) -> Stamp | None:
        """Return the stamp of a file of the folder; ``None`` if there is none.

        Raises:
            OSError: a file of this machine cannot be looked at.
            StorageError: a storage refuses, or is away for too long.
        """
        if isinstance(path, Path):
            try:
                found = path.stat()
            except (FileNotFoundError, NotADirectoryError):
                return None
            return found.st_mtime_ns, found.st_size, found.st_ino
        with self._lock:
            if self._clock_s() >= self._until_s:
                self._look(cast(StoredPath, self._folder))
            return self._listed.get(path.name)

    def _look(self, folder: StoredPath) -> None:
        known = self._until_s >= 0.0
        try:
            listed = (StoredPath(folder.address, patience_s=0.0) if known else folder).listed()
        except StorageError as error:
            if not known:
                raise
            _log.warning("What was last seen is used for %g s more: %s", AWAY_S, error)
            self._until_s = self._clock_s() + AWAY_S
            return
        self._listed = {
            file.name: (status.st_mtime_ns, status.st_size or 0, status.st_ino) for file, status in listed.items()
        }
        self._until_s = self._clock_s() + FRESH_S

    def changed(self) -> None:
        """Look anew at the next question, because this process has changed a file."""
        with self._lock:
            self._until_s = -1.0


def stamps_of(folder: Path) -> Stamps:
    """Return the stamps of a folder: of one in a storage the same for the whole process, so that all see a change."""
    if isinstance(folder, Path):
        return Stamps(folder)
    with _sharing:
        return _shared.setdefault(folder, Stamps(folder))

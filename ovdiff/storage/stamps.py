"""What has changed at a place: a stamp for each file, which differs as soon as its content does.

A file of this machine is looked at each time, which costs microseconds. In a storage each look would be a question of
some milliseconds and each segmented image would ask several for each category; so the whole folder is listed at once,
and the list holds for two seconds. While the storage is away the last list holds, so that images are segmented with
the prototypes that are in memory. Whoever asks then waits for less than a second, because he may hold the models' lock,
or answer Label Studio, which waits three seconds for a project's set-up.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import cast

from ovdiff.errors import StorageError
from ovdiff.storage.stored_path import StoredPath, StoredStatus

FRESH_S = 2.0
"""How long a list of a storage's files is used: what another machine changed is seen that much later.

Where the storage takes longer than `ANSWER_S` to list them, it is seen later still: when the answer is looked for.
"""
AWAY_S = 15.0
"""How long the last list is used further when the storage cannot be asked."""
ANSWER_S = 0.8
"""How long a new list is waited for where there is an older one: a service asks for the lists of three folders."""
LATE_S = 4.0
"""How long after its question a list still counts as new: it may be as old as the question."""

_log = logging.getLogger(__name__)
_shared: dict[Path, "Stamps"] = {}
_sharing = threading.Lock()

Stamp = tuple[int, int, int]
"""When a file was written in ns, its bytes, and a number that differs with its content."""

_Listed = dict[StoredPath, StoredStatus]
_questions: queue.SimpleQueue[tuple[Callable[[], _Listed], "Future[_Listed]"]] = queue.SimpleQueue()
_askers: list[threading.Thread] = []


class Stamps:
    """The stamps of a folder's own files. Threads may share it."""

    def __init__(self, folder: Path, *, clock_s: Callable[[], float] = time.monotonic) -> None:
        """Look at nothing yet."""
        self._folder, self._clock_s = folder, clock_s
        self._lock = threading.Lock()
        self._listed: dict[str, Stamp] | None = None
        self._until_s = -1.0
        self._asking: Future[_Listed] | None = None
        self._asked_s = -1.0
        self._own: set[str] = set()  # what this process has changed since the folder was listed

    def __reduce__(self) -> tuple[Callable[[Path], "Stamps"], tuple[Path]]:
        """Say how another process makes the same: it looks anew, and shares what it sees within itself."""
        return stamps_of, (self._folder,)

    def of(self, path: Path) -> Stamp | None:
        """Return the stamp of a file of the folder; ``None`` if there is none.

        Raises:
            OSError: a file of this machine cannot be looked at.
            StorageError: a storage refuses; or it is away for too long, and was away since the start or since this
                process changed the file.
        """
        if isinstance(path, Path):
            try:
                found = path.stat()
            except (FileNotFoundError, NotADirectoryError):
                return None
            return found.st_mtime_ns, found.st_size, found.st_ino
        with self._lock:
            listed = self._look()
            if path.name not in self._own:
                return listed.get(path.name)
        try:  # Not under the lock: this waits for a storage that is away, and nobody who asks for another file does.
            return _stamp(cast(StoredPath, path).stat())
        except FileNotFoundError:
            return None

    def names(self) -> list[str]:
        """Return the names of the folder's files, sorted; none if there is no such folder.

        Raises:
            OSError: a folder of this machine cannot be listed.
            StorageError: a storage refuses, or is away for too long and was away since the start.
        """
        if isinstance(self._folder, Path):
            try:
                return sorted(path.name for path in self._folder.iterdir())
            except (FileNotFoundError, NotADirectoryError):
                return []
        with self._lock:
            return sorted(self._look())

    def changed(self, *names: str) -> None:
        """Look anew at the next question.

        Args:
            names: the files that this process has changed. While the storage is away they alone are waited for: the
                last list does not know them.
        """
        with self._lock:
            self._until_s, self._asking = -1.0, None  # an answer that is under way may be older than the change
            self._own.update(names)

    def _look(self) -> dict[str, Stamp]:
        """Return what was listed, after listing it anew if that is due. Under the lock."""
        folder = cast(StoredPath, self._folder)
        if self._listed is None:  # Nothing is known, so there is nothing but to wait.
            return self._note(folder.listed())
        if self._clock_s() < self._until_s:
            return self._listed
        self._take_late_answer()
        if self._asking is None:
            self._asking, self._asked_s = _asked(StoredPath(folder.address, patience_s=0.0).listed), self._clock_s()
        asking, self._asking = self._asking, None
        try:
            return self._note(asking.result(ANSWER_S))
        except TimeoutError:  # The answer is taken when it comes.
            self._until_s, self._asking = self._clock_s() + FRESH_S, asking
        except StorageError as error:
            _log.warning("What was last seen is used for %g s more: %s", AWAY_S, error)
            self._until_s = self._clock_s() + AWAY_S
        return self._listed

    def _take_late_answer(self) -> None:
        """Take an answer that came while nobody looked, so that the storage is asked anew. Under the lock.

        It is kept for now: it is newer than the last list, and a storage that is always slow gives no better one.
        """
        asking = self._asking
        if asking is None or not asking.done() or self._clock_s() - self._asked_s <= LATE_S:
            return
        self._asking = None
        if asking.exception() is None:
            self._note(asking.result())

    def _note(self, listed: _Listed) -> dict[str, Stamp]:
        self._listed = {file.name: _stamp(status) for file, status in listed.items()}
        self._until_s = self._clock_s() + FRESH_S
        self._own.clear()
        return self._listed


def _asked(ask: Callable[[], _Listed]) -> "Future[_Listed]":
    """Return what a storage will answer to a question that another thread asks.

    It is one thread for the whole process, because fsspec makes a client for each thread, which takes a second.
    """
    answer: Future[_Listed] = Future()
    with _sharing:
        _questions.put((ask, answer))
        if not (_askers and _askers[-1].is_alive()):  # none is alive in a process that was forked
            _askers[:] = [threading.Thread(target=_answer, name="ovdiff-stamps", daemon=True)]
            _askers[-1].start()
    return answer


def _answer() -> None:
    while True:
        ask, answer = _questions.get()
        try:
            answer.set_result(ask())
        except BaseException as error:  # noqa: BLE001 — whoever waits has it
            answer.set_exception(error)
        del ask, answer


def _stamp(status: StoredStatus) -> Stamp:
    return status.st_mtime_ns, status.st_size or 0, status.st_ino


def stamps_of(folder: Path) -> Stamps:
    """Return the stamps of a folder: of one in a storage the same for the whole process, so that all see a change."""
    if isinstance(folder, Path):
        return Stamps(folder)
    with _sharing:
        return _shared.setdefault(folder, Stamps(folder))

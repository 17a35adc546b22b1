"""How large the stores of a data folder are: prototype sets, support images, encodings, predictions and the rest.

A look walks through all files, so it is kept for half a minute: a page that is open asks every few seconds.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ovdiff.storage import is_stored

LOOK_EVERY_S = 30.0

STORES = {
    "support": "support images",
    "encodings": "encoded images",
    "lessons": "lessons",
    "curated": "exemplars and banned places",
    "curations": "curations",
}
"""The folders of a bank, with what is in them; the files of the bank itself are its prototype sets."""


@dataclass(frozen=True)
class StoreSize:
    """How large one store is: what is in it, how many files it has, and their bytes."""

    name: str
    files: int
    bytes: int


class StoreSizes:
    """The sizes of a bank, of the stores beside it and of the stored predictions, looked at now and then.

    Threads may share it.
    """

    def __init__(self, bank_dir: Path, predictions_dir: Path, *, clock_s: Callable[[], float] = time.monotonic) -> None:
        """Use these folders; nothing is looked at yet."""
        self._bank_dir, self._predictions_dir, self._clock_s = bank_dir, predictions_dir, clock_s
        self._lock = threading.Lock()
        self._looked_s = -LOOK_EVERY_S
        self._sizes: tuple[StoreSize, ...] = ()

    def sizes(self) -> tuple[StoreSize, ...]:
        """Return the size of each store that has a file; at most half a minute old. Folders that vanish count nothing.

        Stores in which nothing was found cost nothing to look at, so they are looked at each time: a new service shows
        its first label at once. While another thread looks, what was seen last is returned.
        """
        if self._lock.acquire(blocking=not self._sizes):
            try:
                if not self._sizes or self._clock_s() - self._looked_s >= LOOK_EVERY_S:
                    self._sizes = self._look()
                    self._looked_s = self._clock_s()
            finally:
                self._lock.release()
        return self._sizes

    def _look(self) -> tuple[StoreSize, ...]:
        found = [_size("prototype sets", _files_of(self._bank_dir, deep=False))]
        found += [_size(text, _files_of(self._bank_dir / name, deep=True)) for name, text in STORES.items()]
        found.append(_size("predictions", _files_of(self._predictions_dir, deep=True)))
        return tuple(size for size in found if size.files)


def _size(name: str, sizes_of_files: Iterator[int]) -> StoreSize:
    each = list(sizes_of_files)
    return StoreSize(name, len(each), sum(each))


def _files_of(folder: Path, *, deep: bool) -> Iterator[int]:
    """Yield the bytes of each file of a folder; nothing of what vanishes or cannot be read meanwhile.

    The files of a storage are not counted: that would be a question for each thousand of them, twice a minute.
    """
    if is_stored(folder):
        return
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        try:
            if entry.is_dir(follow_symlinks=False):
                if deep:
                    yield from _files_of(Path(entry.path), deep=True)
            else:
                yield entry.stat(follow_symlinks=False).st_size
        except OSError:
            continue

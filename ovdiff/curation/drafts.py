"""Curations that are tried before they are in force: what is changed of them stays in memory.

Prototype sets are addressed by what shaped them, so a set that is built for a draft is the one that is found when the
draft comes into force: to apply it costs nothing more. Never imports torch.
"""

import threading
from collections.abc import Callable
from pathlib import Path

from ovdiff.curation.curation import Curation
from ovdiff.curation.store import CurationStore


class DraftCurations(CurationStore):
    """The curations beside a bank, with changes that nobody else sees. Threads may share it."""

    def __init__(self, bank_folder: Path | str) -> None:
        """Begin with the curations that are in force."""
        super().__init__(bank_folder)
        self._lock = threading.Lock()
        self._changed: dict[str, Curation] = {}

    def of(self, support_key: str) -> Curation:
        """Return the curation of a support key, with the changes of this draft.

        Raises:
            BankError: the file of one that is in force cannot be read.
        """
        found = self._changed.get(support_key)
        return super().of(support_key) if found is None else found

    def change(self, support_key: str, changed: Callable[[Curation], Curation]) -> Curation:
        """Replace the curation of a support key in this draft by what a function makes of it, and return it.

        Raises:
            BankError: the file of one that is in force cannot be read.
        """
        with self._lock:
            new = changed(self.of(support_key))
            self._changed[support_key] = new
            return new

    def all(self) -> dict[str, Curation]:
        """Return all curations by their support keys, sorted, with the changes of this draft.

        Raises:
            BankError: a file cannot be read as a curation.
        """
        return dict(sorted({**super().all(), **self._changed}.items()))

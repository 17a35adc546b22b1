"""What was seen of a manifest, on the disk, so that memory does not grow with the manifest."""

from __future__ import annotations

import sqlite3
from typing import Any

from backend.errors import RequestError


class Seen:
    """Values that were seen, each with a number. The thread that made it uses it."""

    def __init__(self) -> None:
        """Hold none yet.

        Raises:
            RequestError: the temporary folder cannot be written.
        """
        self._table = sqlite3.connect("")  # a file of the system's temporary folder, which goes with the connection
        self._ask("PRAGMA synchronous = OFF")
        self._ask("PRAGMA journal_mode = OFF")
        self._ask("CREATE TABLE seen (value PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID")

    def add(self, value: int | bytes, number: int = 0) -> int | None:
        """Note a value with a number; return the number that it was noted with before, None if it is new.

        Raises:
            RequestError: the temporary folder is full, or cannot be written.
        """
        if self._ask("INSERT OR IGNORE INTO seen VALUES (?, ?)", value, number).rowcount:
            return None
        found: tuple[int] = self._ask("SELECT number FROM seen WHERE value = ?", value).fetchone()
        return found[0]

    def __contains__(self, value: int | bytes) -> bool:
        """Say whether a value was seen."""
        return self._ask("SELECT 1 FROM seen WHERE value = ?", value).fetchone() is not None

    def close(self) -> None:
        """Forget what was seen."""
        self._table.close()

    def _ask(self, sql: str, *values: int | bytes) -> Any:
        try:
            return self._table.execute(sql, values)
        except sqlite3.Error as error:
            raise RequestError(
                f"What was read of the manifest waits in the system's temporary folder, which fails: {error}. Make "
                "room in /var/tmp, or name a folder with more room by TMPDIR, and run the same command again."
            ) from error

"""Faults of many tasks or rows: all are counted, the first are told to people, and more of them to programs."""

from __future__ import annotations

from backend.command.console import complain
from converters.files.json_values import Json

MOST_LINES = 20
MOST_TOLD = 1000


class Complaints:
    """What is said of the tasks or rows that failed.

    Attributes:
        count: how many there are.
        told: the first thousand of them, for --json.
    """

    def __init__(self, further: str) -> None:
        """Know of none.

        Args:
            further: is said once in the place of all that come after the first twenty.
        """
        self._further = further
        self.count, self.told = 0, list[Json]()

    def add(self, line: str, entry: Json | None = None) -> None:
        """Take one, as a line for people, and for programs as JSON, where it is kept here."""
        self.count += 1
        if self.count <= MOST_LINES:
            complain(line)
        elif self.count == MOST_LINES + 1:
            complain(self._further)
        if entry is not None and len(self.told) < MOST_TOLD:
            self.told.append(entry)

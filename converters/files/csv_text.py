"""Tables as CSV (RFC 4180, UTF-8): a row a line, a comma between cells, quotes where a cell needs them.

Spreadsheets take a cell that begins with one of =, +, -, @ for a formula and would compute what a file name asks for.
Such text gets an apostrophe in front. Numbers are written as they are; None is an empty cell.
"""

import csv
from collections.abc import Iterable, Sequence
from typing import TextIO

Cell = str | int | float | None

_BEGINS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write_csv(file: TextIO, head: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
    """Write a table with a line of titles to an open text file, row by row."""
    # A writer puts a cell in quotes for the characters of its own line end alone, and readers end a line at each "\r".
    writer = csv.writer(_UnixLines(file), lineterminator="\r\n")
    writer.writerow(head)
    for row in rows:
        writer.writerow([_cell(cell) for cell in row])


class _UnixLines:
    """Takes lines that end in "\\r\\n", and writes them with "\\n"."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, line: str) -> None:
        self._file.write(line.removesuffix("\r\n") + "\n")


def _cell(cell: Cell) -> str | int | float | None:
    if not isinstance(cell, str):
        return cell
    text = cell.encode("utf-8", "backslashreplace").decode("utf-8")  # half a surrogate pair is no UTF-8
    return f"'{text}" if text.startswith(_BEGINS_A_FORMULA) else text

import sqlite3

import pytest

from backend.command.manifest.importing import AddressSet
from backend.command.manifest.rows import Columns, RowMaker
from backend.command.manifest.seen import Seen
from backend.errors import RequestError


def test_a_value_is_new_once() -> None:
    seen = Seen()
    assert seen.add(7, 1) is None and seen.add(b"7", 2) is None
    assert seen.add(7, 3) == 1 and seen.add(b"7", 4) == 2
    assert 7 in seen and b"7" in seen and 8 not in seen
    seen.close()


class FullDisk:
    """A database whose disk has no room left."""

    def execute(self, sql: str, values: object = ()) -> None:
        raise sqlite3.OperationalError("database or disk is full")


def test_a_full_temporary_folder_is_said_in_words() -> None:
    rows, addresses = RowMaker(Columns()), AddressSet()
    rows._seen._table = addresses._seen._table = FullDisk()  # type: ignore[assignment]
    for note in (lambda: rows.row(1, {"image": "a.png", "id": 1}), lambda: addresses.add("s3://b/a.png")):
        with pytest.raises(RequestError, match=r"database or disk is full\. Make room in /var/tmp, or .* by TMPDIR"):
            note()

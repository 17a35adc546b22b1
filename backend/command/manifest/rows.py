"""The rows of a manifest: which image each names, and the id that the image has in the results.

    {"image": "cats/one.jpg", "id": 17, "width": 640, "height": 480, "source": "camera 3"}

`image` is a path or an address. `id`, `width` and `height` may be left out. Everything else is carried through to the
results. Where the first row's id is a whole number, ids are the images' ids in the results; otherwise an image's id is
the number of its row, and an id that is a text is carried through under `row_id`.

A row that cannot be used is a `BadRow`, which says what to do; the other rows go on.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from backend.command.manifest.image_identity import without_signature
from backend.command.manifest.seen import Seen
from converters.files.redaction import without_secrets

MOST_ID = 2**53 - 1  # exact in every reader of JSON
_SHOWN = 120  # characters of a value in a message


@dataclass(frozen=True)
class Columns:
    """Which columns of a manifest mean what.

    Attributes:
        image: the column of the image's path or address.
        id: the column of its id.
        carried: the columns that are carried through to the results; None: all others.
    """

    image: str = "image"
    id: str = "id"
    carried: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Row:
    """An image that is to be segmented.

    Attributes:
        number: the number of the row, from 1.
        image: the image's path or address, as the manifest writes it.
        image_id: the image's id in the results.
        row_id: the id of the row, where that is a text; "" otherwise.
        size_wh: the width and height that the manifest states, in pixels; None where it states none.
        carried: what else is carried through, as JSON values.
    """

    number: int
    image: str
    image_id: int
    row_id: str = ""
    size_wh: tuple[int, int] | None = None
    carried: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class BadRow:
    """A row that has no result.

    Attributes:
        number: the number of the row, from 1.
        value: what the row says, or the part of it that is wrong, shortened.
        reason: what is wrong with it, and what to do.
    """

    number: int
    value: str
    reason: str

    def text(self) -> str:
        """Return the row's fault as one line for people."""
        return f"row {self.number}, {self.value}: {self.reason}"


class _UnusableError(Exception):
    """A value and what is wrong with it."""

    def __init__(self, value: object, reason: str) -> None:
        super().__init__(reason)
        self.value, self.reason = value, reason


def shown(value: object) -> str:
    """Return a value as a message shows it, without secrets."""
    text = without_secrets(repr(value))
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


class RowMaker:
    """Makes rows of what a manifest says, one after the other from its first row on, and sees ids that come twice.

    The ids that were seen are in a temporary file, so that memory does not grow with the manifest. One thread uses it,
    the one that made it.
    """

    def __init__(self, columns: Columns) -> None:
        """Start before the first row."""
        self._columns = columns
        self._has_numbers: bool | None = None
        self._seen = Seen()

    def close(self) -> None:
        """Forget the ids that were seen."""
        self._seen.close()

    def row(self, number: int, said: object) -> Row | BadRow:
        """Return what becomes of a row.

        Args:
            number: the number of the row, from 1.
            said: what the manifest says: a mapping, or `Unreadable`.

        Raises:
            RequestError: the temporary folder has no room for the ids.
        """
        if isinstance(said, Unreadable):
            return BadRow(number, said.value, said.reason)
        try:
            if not isinstance(said, Mapping):
                raise _UnusableError(said, "expected an object with the image's path or address under its column")
            return self._row(number, said)
        except _UnusableError as error:
            return BadRow(number, shown(error.value), error.reason)

    def _row(self, number: int, said: Mapping[str, Any]) -> Row:
        image = said.get(self._columns.image)
        if not isinstance(image, str) or not image.strip() or "\0" in image or not _is_text(image):
            raise _UnusableError(
                image,
                f"expected the path or address of an image under {self._columns.image!r}; correct the row, or name the "
                f"column with --image-column (this row has {', '.join(map(repr, list(said)[:12])) or 'none'})",
            )
        size_wh = _size(said)
        image_id, row_id = self._ids(number, said.get(self._columns.id))
        return Row(number, image, image_id, row_id, size_wh, self._carried(said))

    def _ids(self, number: int, given: Any) -> tuple[int, str]:
        """Return the id of the image, and that of the row where it is a text."""
        whole = _whole(given)
        if self._has_numbers is None:
            self._has_numbers = whole is not None
        if not self._has_numbers:
            row_id = "" if given is None else str(given if whole is None else whole)
            if (not isinstance(given, str | int | None) and whole is None) or not _is_text(row_id):
                raise _UnusableError(given, f"expected a whole number or a text under {self._columns.id!r}")
            return number, row_id
        if whole is None:
            raise _UnusableError(
                given,
                f"expected a whole number from 0 to {MOST_ID} under {self._columns.id!r}, as in the first row; give "
                "each row one, or name another column with --id-column",
            )
        if (earlier := self._seen.add(whole, number)) is not None:
            raise _UnusableError(given, f"row {earlier} has this id already; give each row an id of its own")
        return whole, ""

    def _carried(self, said: Mapping[str, Any]) -> dict[str, Any]:
        wanted = self._columns.carried
        if wanted is None:
            own = (self._columns.image, self._columns.id, "width", "height")
            wanted = tuple(name for name in said if name not in own)
        return {_text(name): json_value(said[name]) for name in wanted if said.get(name) is not None}


@dataclass(frozen=True)
class Unreadable:
    """A row of which nothing can be read: what is there, and why that is no row."""

    value: str
    reason: str


def _whole(value: Any) -> int | None:
    """Return a whole number; a table of pandas holds those of a column with gaps as 7.0."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= MOST_ID else None


def _is_text(value: str) -> bool:
    """Return whether a text can be written: JSON's escapes can make half a character, such as "\\ud800"."""
    return _text(value) == value


def _text(value: str) -> str:
    """Return a text with a question mark for each half of a character."""
    return value.encode("utf-8", "replace").decode("utf-8")


def _size(said: Mapping[str, Any]) -> tuple[int, int] | None:
    width, height = said.get("width"), said.get("height")
    if width is None and height is None:
        return None
    sides = _whole(width), _whole(height)
    if not all(sides):
        raise _UnusableError(
            (width, height), "expected width and height as whole numbers of pixels from 1; correct them, or leave "
            "both out"
        )  # fmt: skip
    return sides[0] or 0, sides[1] or 0


def json_value(value: Any) -> Any:
    """Return a value as JSON holds it: times as ISO 8601, decimals as text, NaN and infinity as None.

    A text gets a question mark for each half of a character, which no file can hold.
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, Mapping):
        return {_text(str(name)): json_value(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [json_value(each) for each in value]
    return value if value is None or isinstance(value, int | bool) else _text(str(value))


@dataclass(frozen=True)
class Batch:
    """The rows of one shard.

    Attributes:
        index: the number of the shard, from 0.
        first: the number of its first row.
        rows: what became of each row, in the manifest's order.
    """

    index: int
    first: int
    rows: Sequence[Row | BadRow]

    @property
    def last(self) -> int:
        """The number of its last row."""
        return self.first + len(self.rows) - 1

    def digest(self, source_of: Callable[[Row], str]) -> str:
        """Return a hash of all that the manifest says of these rows, and of where it finds their images.

        An address that was signed anew is the same one.

        Args:
            source_of: what a row's path is relative to; "" for an address, which says all by itself.

        Returns:
            hexadecimal digits.
        """
        parts = []
        for row in self.rows:
            part = dict(vars(row))
            if isinstance(row, Row):
                part["image"] = without_signature(row.image)
                if source := source_of(row):
                    part["source"] = source
            parts.append(part)
        text = json.dumps(parts, sort_keys=True, default=list)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def batches(rows: Iterator[tuple[int, object]], maker: RowMaker, size: int) -> Iterator[Batch]:
    """Yield the rows of a manifest in batches of a fixed number of rows, the last one of what is left.

    Args:
        rows: what the manifest says, with the number of each row.
        maker: makes rows of that.
        size: how many rows are a batch.
    """
    found: list[Row | BadRow] = []
    for number, said in rows:
        found.append(maker.row(number, said))
        if len(found) == size:
            yield Batch((number - 1) // size, number - size + 1, tuple(found))
            found = []
    if found:
        first = found[0].number
        yield Batch((first - 1) // size, first, tuple(found))

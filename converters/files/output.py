"""The files and folders that a command writes, and JSON lists that grow on disk instead of in memory.

A new file replaces an older file of its name. A new folder replaces only an empty folder. Both appear whole or not at
all (see `atomic`). Nothing here reads files.
"""

import json
import os
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import SpooledTemporaryFile
from typing import Any, TextIO

from converters.errors import OutputError
from converters.files.atomic import delete_left_overs, is_partial, whole_folder, whole_text_file

_IN_MEMORY_BYTES = 1 << 20
_LONGEST_NAME_BYTES = 200  # file systems allow 255; a suffix and the temporary name's parts need room


class JsonList:
    """A JSON list of any length: its items wait in a temporary file, one item a line."""

    def __init__(self, folder: Path | None = None) -> None:
        """Start an empty list; once the list is large, its file lies in `folder` (None: the system's own folder)."""
        self._file = SpooledTemporaryFile(  # noqa: SIM115
            _IN_MEMORY_BYTES, mode="w+", encoding="utf-8", dir=None if folder is None else str(folder)
        )
        weakref.finalize(self, self._file.close)  # with the list's last reference; the file has no name on disk
        self._count = 0

    def __len__(self) -> int:
        """Return how many items were appended."""
        return self._count

    def append(self, item: Any) -> None:
        """Add an item at the end."""
        self._file.write((",\n" if self._count else "\n") + json_text(item))
        self._count += 1

    def text(self) -> Iterator[str]:
        """Yield the list as JSON, piece by piece."""
        self._file.seek(0)
        yield "["
        while piece := self._file.read(_IN_MEMORY_BYTES):
            yield piece
        self._file.seek(0, os.SEEK_END)
        yield "]"


JsonDocument = Mapping[str, Any] | Sequence[Any] | JsonList
"""What a whole JSON file holds: an object or a list."""


def write_json(value: JsonDocument, path: Path) -> None:
    """Write an object or a list as a JSON file that appears whole or not at all.

    Each item of a list stands on a line of its own, if the list is the document or a value of the document. Such a list
    may be a `JsonList`.

    Raises:
        OutputError: the file cannot be written.
    """
    with new_file(path) as file:
        file.writelines(json_document(value))


def json_text(item: Any) -> str:
    """Return one line of JSON. Letters are not escaped, unless a string holds half a surrogate pair.

    Raises:
        OutputError: the item holds NaN or an infinite number, which JSON cannot hold.
    """
    try:
        text = json.dumps(item, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise OutputError(f"expected numbers that JSON can hold, got NaN or infinity in {item!r:.80}") from error
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return json.dumps(item, allow_nan=False)
    return text


@contextmanager
def new_file(path: Path) -> Iterator[TextIO]:
    """Open a text file that takes its name when the block ends well, replacing the file that had it.

    Raises:
        OutputError: the file cannot be written, or a folder or a device has its name.
    """
    with _told_as_output_error(path):
        if path.exists() and not path.is_file():
            raise OutputError(
                f"expected {path} to be a new file or one to replace, got a folder or a device: name a file"
            )
        delete_left_overs(path.parent, path.name)
        with whole_text_file(path) as file:
            yield file


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder that takes the name `path` when the block ends well.

    Raises:
        OutputError: a file or a folder that is not empty has the name, or the folder cannot be written.
    """
    path = path.absolute()  # "." has no name of its own
    with _told_as_output_error(path):
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise OutputError(f"expected {path} to be a new or an empty folder, got one that holds files: name another")
        delete_left_overs(path.parent, path.name)
        with whole_folder(path) as partial:
            yield partial


def name_in_folder(name: str, suffix: str) -> PurePosixPath | None:
    """Return an image's file name with another suffix, None if no file inside a folder can have that name.

    Names come from exports, so a name may be "../x", hold a NUL, or have a thousand letters.

    >>> name_in_folder("cats/one.jpg", ".png")
    PurePosixPath('cats/one.png')
    """
    path = PurePosixPath(name)
    if "\0" in name or "\\" in name or path.is_absolute() or not path.name or ".." in path.parts:
        return None
    try:
        longest = max(len(part.encode("utf-8")) for part in path.parts)
    except UnicodeEncodeError:
        return None
    return path.with_suffix(suffix) if longest <= _LONGEST_NAME_BYTES else None


def json_document(value: JsonDocument) -> Iterator[str]:
    """Yield the text of a JSON file as `write_json` writes it, piece by piece.

    Raises:
        OutputError: the value holds NaN or an infinite number, which JSON cannot hold.
    """
    if not isinstance(value, Mapping):
        yield from _list(value)
        yield "\n"
        return
    for position, (key, item) in enumerate(value.items()):
        yield ("{" if position == 0 else ",\n") + json_text(key) + ": "
        yield from _list(item) if isinstance(item, (list, tuple, JsonList)) else [json_text(item)]
    yield "}\n" if value else "{}\n"


def _list(items: Sequence[Any] | JsonList) -> Iterator[str]:
    if isinstance(items, JsonList):
        yield from items.text()
        return
    yield "["
    for position, item in enumerate(items):
        yield (",\n" if position else "\n") + json_text(item)
    yield "]"


@contextmanager
def _told_as_output_error(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if not _is_about(error, path):
            raise
        raise OutputError(f"{path} cannot be written: {error}") from error


def _is_about(error: OSError, path: Path) -> bool:
    """Tell whether an error is about an output, and not about a file that was read while it was being written."""
    if not isinstance(error.filename, str):
        return True
    named = Path(error.filename)
    return named in (path, *path.parents) or any(map(is_partial, named.parts))

"""A large JSON array read one element at a time, so that an export or a COCO file need not fit in memory.

Brush regions are lists of numbers: a 500 MB export would take several GB as one Python object. The array is the file,
or a member of the object that the file is, such as the images of a COCO file.

ijson would do the same for members. It is not used, because this reader was there for exports, limits how long an
element may be, and needs nothing that is not in the standard library.
"""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from converters.errors import CocoError, ConverterError, LabelStudioFormatError

_CHUNK_CHARACTERS = 1 << 20
MAX_ELEMENT_CHARACTERS = 1 << 28
"""The longest single element that is read: a task of 268 million characters takes 0.8 GB while it is parsed.

A rough mask of 12 million pixels has 0.56 million, and a task holds the masks of each prediction and each annotation.
"""
MAX_MEMBER_CHARACTERS = 1 << 23
"""The longest entry of a COCO file that is skipped or read: an uncompressed mask of 8 million characters."""

_WHITESPACE = " \t\r\n"
_AFTER_ELEMENT = tuple(_WHITESPACE + ",]}:")
_LONGEST_LITERAL = len("-Infinity")


def read_json_array(path: Path, *, max_element_characters: int = MAX_ELEMENT_CHARACTERS) -> Iterator[Any]:
    """Yield the elements of the JSON array in a file; if the file holds one JSON object, yield that object.

    Raises:
        LabelStudioFormatError: the file is no UTF-8 JSON array or object, ends too early, or has a longer element
            than `max_element_characters`.
        OSError: the file cannot be opened.
    """
    with path.open(encoding="utf-8-sig") as file:
        try:
            yield from _Reader(file, str(path), max_element_characters).elements()
        except UnicodeDecodeError as error:
            raise LabelStudioFormatError(f"{path}: expected JSON in UTF-8, got other bytes: {error}") from error


def read_json_member_array(
    path: Path, name: str, *, max_element_characters: int = MAX_MEMBER_CHARACTERS
) -> Iterator[Any]:
    """Yield the elements of one array of the JSON object in a file, such as the "images" of a COCO file.

    What stands before the array is skipped an element at a time; what stands behind it is not read.

    Args:
        path: the file; an address of a storage that behaves as a path will do.
        name: the array's name in the object.
        max_element_characters: the longest element, in characters, of this array and of what stands before it.

    Raises:
        CocoError: the file is no UTF-8 JSON object, ends too early, has no such array, or has a longer element.
        OSError: the file cannot be opened.
    """
    with io.TextIOWrapper(path.open("rb"), encoding="utf-8-sig") as file:  # as addresses are opened, too
        try:
            yield from _Reader(file, str(path), max_element_characters, _entries(name), CocoError).member(name)
        except UnicodeDecodeError as error:
            raise CocoError(f"{path}: expected JSON in UTF-8, got other bytes: {error}") from error


def read_json_member(path: Path, name: str, *, max_characters: int = MAX_ELEMENT_CHARACTERS) -> Any:
    """Return one value of the JSON object in a file, such as the "info" of a COCO file; None if there is none.

    The file is read as far as the value, so this is quick where the value stands at the beginning.

    Raises:
        CocoError: the file is no UTF-8 JSON object, ends too early, or the value is longer than `max_characters`.
        OSError: the file cannot be opened.
    """
    with io.TextIOWrapper(path.open("rb"), encoding="utf-8-sig") as file:  # as addresses are opened, too
        try:
            return _Reader(file, str(path), max_characters, _entries(name), CocoError).value(name)
        except UnicodeDecodeError as error:
            raise CocoError(f"{path}: expected JSON in UTF-8, got other bytes: {error}") from error


def _entries(name: str) -> tuple[str, str]:
    return f"an entry of {name!r}", f"entries of {name!r}"


class _Reader:
    """A window that slides over the text of the file, element by element; `_at` is the position inside the window."""

    def __init__(
        self,
        file: TextIO,
        origin: str,
        max_element_characters: int,
        words: tuple[str, str] = ("a task", "tasks"),
        error: type[ConverterError] = LabelStudioFormatError,
    ) -> None:
        self._file = file
        self._origin = origin
        self._limit = max_element_characters
        self._one, self._many = words
        self._error_type = error
        self._text = ""
        self._at = 0
        self._decoder = json.JSONDecoder()

    def elements(self) -> Iterator[Any]:
        opening = self._next_character()
        if opening == "{":
            yield self._take_element()
        elif opening == "[":
            yield from self._array_elements()
        else:
            raise self._error(f"expected a JSON array of {self._many}")
        if self._next_character():
            raise self._error(f"expected nothing after the {self._many}")

    def member(self, name: str) -> Iterator[Any]:
        for key in self._keys():
            is_array = self._next_character() == "["
            if key == name and not is_array:
                raise self._error(f"expected a list under {name!r}")
            if not is_array:
                self._take_element()
            elif key == name:
                yield from self._array_elements()
                return
            else:
                for _ in self._array_elements():
                    pass
        raise self._error(f"expected a JSON object with a list under {name!r}")

    def value(self, name: str) -> Any:
        for key in self._keys():
            if key == name:
                return self._take_element()
            if self._next_character() == "[":
                for _ in self._array_elements():
                    pass
            else:
                self._take_element()
        return None

    def _keys(self) -> Iterator[str]:
        """Yield the keys of the object; whoever asks takes the value of a key before the next key."""
        if self._next_character() != "{":
            raise self._error("expected a JSON object")
        self._at += 1
        if self._next_character() == "}":
            self._at += 1
            return
        while True:
            if self._next_character() != '"':
                raise self._error("expected a key in quotes")
            key: str = self._take_element()
            if self._next_character() != ":":
                raise self._error(f"expected ':' after the key {key!r:.60}")
            self._at += 1
            self._next_character()
            yield key
            separator = self._next_character()
            if separator not in ("}", ","):
                raise self._error(f"expected ',' or '}}' after the value of {key!r:.60}")
            self._at += 1
            if separator == "}":
                return

    def _array_elements(self) -> Iterator[Any]:
        self._at += 1
        if self._next_character() == "]":
            self._at += 1
            return
        while True:
            self._next_character()
            yield self._take_element()
            separator = self._next_character()
            if separator not in ("]", ","):
                raise self._error(f"expected ',' or ']' after {self._one}")
            self._at += 1
            if separator == "]":
                return

    def _next_character(self) -> str:
        """Go to the next character that is no white space, and return the character; "" at the end of the file."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in _WHITESPACE:
                    return self._text[self._at]
                self._at += 1
            if not self._read_more():
                return ""

    def _take_element(self) -> Any:
        """Parse one element; read on, twice as much each time, until the element is complete."""
        while True:
            try:
                element, end = self._decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if not self._may_be_incomplete(error) or not self._read_more():
                    raise self._error(f"expected JSON, which breaks or ends too early ({error.msg})") from error
            except (RecursionError, ValueError) as error:  # nested or counted without end
                raise self._error(f"expected JSON of sane depth and numbers ({error})") from error
            else:
                # A number cut in two ("1" of "1.5") parses as well: only what may follow an element ends it.
                if self._text[end : end + 1] in _AFTER_ELEMENT or not self._read_more():
                    self._at = end
                    return element

    def _may_be_incomplete(self, error: json.JSONDecodeError) -> bool:
        return error.msg.startswith("Unterminated") or error.pos >= len(self._text) - _LONGEST_LITERAL

    def _read_more(self) -> bool:
        self._text = self._text[self._at :]
        self._at = 0
        if len(self._text) > self._limit:
            raise self._error(f"expected {self._many} of at most {self._limit} characters")
        # Twice as much each time, but never more than may be one element and the character after it.
        chunk = self._file.read(min(max(len(self._text), _CHUNK_CHARACTERS), self._limit + 1 - len(self._text)))
        self._text += chunk
        return bool(chunk)

    def _error(self, expected: str) -> ConverterError:
        got = self._text[self._at : self._at + 40]
        return self._error_type(f"{self._origin}: {expected}, got {got!r}" + ("" if got else " (the end)"))

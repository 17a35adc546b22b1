"""The data.yaml of a YOLO dataset: the category names in their order.

    path: .
    train: images
    val: images
    names:
      0: "cat"
      1: "dog"

The file is written as YAML. The reader here reads no YAML beyond such files: it knows the three ways to write `names`
(numbered lines, lines with a dash, or [a, "b"] in one line), comments and quotes. Anything else under `names` is an
error.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from converters.errors import YOLOError
from converters.files.output import json_text

MAX_BYTES = 1 << 20
_MAX_NAMES = 100_000
_NAMES = re.compile(r"names\s*:")
_NUMBERED = re.compile(r"(?P<number>\d{1,9})\s*:\s+(?P<name>\S.*)")
_DASHED = re.compile(r"-\s+(?P<name>\S.*)")
_ITEM = re.compile(r"""("(?:[^"\\]|\\.)*"\s*|'(?:[^']|'')*'\s*|[^,'"\[\]{}][^,\[\]{}]*)(,|$)""")
_SPACES = re.compile(r"\s*")
_BREAKS = re.compile("[\x7f-\x9f\u2028\u2029\ufeff]")  # line breaks to a reader of YAML, or not to be printed


def data_yaml_text(names: Sequence[str]) -> str:
    """Return the text of data.yaml for category names, in their order; images lie in images/, labels in labels/."""
    numbered = "".join(f"  {number}: {_quoted(name)}\n" for number, name in enumerate(names))
    head = "# One folder for all: divide it into train and val as you need.\npath: .\ntrain: images\nval: images\n"
    return head + "names:\n" + numbered


def read_names(path: Path) -> dict[int, str]:
    """Return the category names of a data.yaml by number.

    Raises:
        YOLOError: the file has no `names`, writes them in an unknown way, or has a number or a name twice.
        OSError: the file cannot be opened.
    """
    if path.stat().st_size > MAX_BYTES:
        raise YOLOError(f"{path}: expected at most {MAX_BYTES} bytes, got {path.stat().st_size}")
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise YOLOError(f"{path}: expected UTF-8, got other bytes: {error}") from error
    start = next((i for i, line in enumerate(lines) if _NAMES.match(line)), None)
    if start is None:
        raise YOLOError(f"{path}: expected the categories under 'names:', got none")
    rest = _without_comment(lines[start].split(":", 1)[1])
    pairs = _in_one_line(rest, path) if rest else _in_lines(lines[start + 1 :], path)
    names = dict(pairs)
    if not names or len(names) < len(pairs) or len(set(names.values())) < len(names) or len(names) > _MAX_NAMES:
        raise YOLOError(
            f"{path}: expected names with a number of their own each (1 to {_MAX_NAMES} of them), got {pairs!r:.200}"
        )
    return names


def _in_lines(lines: Sequence[str], path: Path) -> list[tuple[int, str]]:
    pairs: list[tuple[int, str]] = []
    for line in lines:
        text = _without_comment(line)
        if not text:
            continue
        numbered, dashed = _NUMBERED.fullmatch(text), _DASHED.fullmatch(text)
        if numbered:
            pairs.append((int(numbered["number"]), _plain(numbered["name"], path)))
        elif dashed:
            pairs.append((len(pairs), _plain(dashed["name"], path)))
        elif line[0].isspace():
            raise YOLOError(f"{path}: expected names as '0: cat' or '- cat', got {text!r:.60}")
        else:
            break  # the next key
    return pairs


def _in_one_line(text: str, path: Path) -> list[tuple[int, str]]:
    inner = text[1:-1].rstrip() if text[0] == "[" and text[-1] == "]" else ""
    names: list[str] = []
    at = 0
    while at < len(inner):
        item = _ITEM.match(inner, _at_text(inner, at))
        if not item:
            break
        names.append(_plain(item[1].strip(), path))
        at = _at_text(inner, item.end())
    if at < len(inner) or not names:
        raise YOLOError(f"{path}: expected names as [cat, dog] or one a line, got {text!r:.60}")
    return list(enumerate(names))


def _at_text(text: str, at: int) -> int:
    """Return the position after the white space that begins at a position."""
    spaces = _SPACES.match(text, at)
    return spaces.end() if spaces else at


def _without_comment(line: str) -> str:
    """Return the line without its comment, which begins at a # that stands alone and outside quotes."""
    quote, is_escaped, before = "", False, " "
    for position, character in enumerate(line):
        if quote:
            if character == quote and not is_escaped:
                quote = ""
            is_escaped = quote == '"' and character == "\\" and not is_escaped
        elif character in "\"'" and before in " \t[,'":  # '' within quotes is one
            quote = character
        elif character == "#" and before.isspace():
            return line[:position].strip()
        before = character
    return line.strip()


def _quoted(name: str) -> str:
    """Return a name in double quotes; inside them, YAML has the same escapes as JSON."""
    return _BREAKS.sub(lambda found: f"\\u{ord(found[0]):04x}", json_text(name))


def _plain(text: str, path: Path) -> str:
    """Return a scalar without its quotes."""
    if text[0] == '"':
        try:
            name = json.loads(text)
        except ValueError as error:
            raise YOLOError(f"{path}: expected a quoted name, got {text!r:.60}") from error
    elif text[0] == "'":
        if len(text) < 2 or text[-1] != "'":
            raise YOLOError(f"{path}: expected a quoted name, got {text!r:.60}")
        name = text[1:-1].replace("''", "'")
    else:
        name = text
    if not name.strip() or name[0] in "{}[]&*!|>%@":
        raise YOLOError(f"{path}: expected the name of a category, got {text!r:.60}")
    return str(name)

"""Text from exports made safe for pages: labels and file names may hold anything, even markup or half a character."""

import html
import re
import unicodedata
from collections.abc import Iterable, Sequence

_CONTROLS = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")  # Cf reverses text, Cs are halves of surrogate pairs
_MARKDOWN = re.compile(r"([\\`*_\[\]|~$@:]|(?<=www)\.)", re.IGNORECASE)  # : and www. make links by themselves


def plain(value: object) -> str:
    """Return one line of text; each control character is replaced by one sign."""
    return "".join(
        "�" if unicodedata.category(character) in _CONTROLS else character for character in _one_line(str(value))
    )


def escape_html(value: object) -> str:
    """Return text for HTML and SVG, between tags or in a quoted attribute."""
    return html.escape(plain(value), quote=True)


def escape_markdown(value: object) -> str:
    """Return text for a paragraph or a table cell in Markdown; it never makes a link, a tag or a new cell."""
    return _MARKDOWN.sub(r"\\\1", html.escape(plain(value), quote=False))


def markdown_table(head: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table in Markdown; the cells must be escaped already."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def shorten(value: object, length: int) -> str:
    """Return at most `length` characters of a text; an ellipsis replaces the end of a longer text."""
    text = plain(value)
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def _one_line(text: str) -> str:
    return re.sub(r"[\t\r\n]+", " ", text)

"""Text from exports made safe for pages: labels and file names may hold anything, markup and half characters too."""

import html
import re
import unicodedata

_CONTROLS = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")  # Cf reverses text, Cs are halves of surrogate pairs
_MARKDOWN = re.compile(r"([\\`*_\[\]|~$@:]|(?<=www)\.)", re.IGNORECASE)  # : and www. make links by themselves


def plain(value: object) -> str:
    """Return one line of text without control characters, each of them replaced by one sign."""
    return "".join(
        "�" if unicodedata.category(character) in _CONTROLS else character for character in _one_line(str(value))
    )


def escape_html(value: object) -> str:
    """Return text for HTML and SVG, between tags or in a quoted attribute."""
    return html.escape(plain(value), quote=True)


def escape_markdown(value: object) -> str:
    """Return text for Markdown, in a paragraph or a cell of a table; never a link, a tag or a new cell."""
    return _MARKDOWN.sub(r"\\\1", html.escape(plain(value), quote=False))


def shorten(value: object, length: int) -> str:
    """Return at most `length` characters, the end replaced by an ellipsis where there are more."""
    text = plain(value)
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def _one_line(text: str) -> str:
    return re.sub(r"[\t\r\n]+", " ", text)

"""Addresses of other hosts from which a built page would load something: none, so that the site works offline."""

import re
from html.parser import HTMLParser
from pathlib import Path

_LOADED = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
    "embed": "src",
    "link": "href",
    "object": "data",
    "form": "action",
}
_NOT_FETCHED = {"canonical", "edit", "next", "prev", "license"}
_FOREIGN = re.compile(r"\s*(?:https?:)?//", re.IGNORECASE)
_CSS = re.compile(r"(?:url\(|@import)\s*['\"]?((?:https?:)?//[^'\")\s]+)", re.IGNORECASE)


class _Loads(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Remember what a tag loads."""
        given = dict(attrs)
        address = given.get(_LOADED.get(tag, ""), "") or ""
        if _FOREIGN.match(address) and (given.get("rel") or "") not in _NOT_FETCHED:
            self.found.append(address)
        self.found += _CSS.findall(given.get("style") or "")

    def handle_data(self, data: str) -> None:
        """Remember what an inline style sheet loads."""
        if self.get_starttag_text() and (self.get_starttag_text() or "").startswith("<style"):
            self.found += _CSS.findall(data)


def foreign_loads(text: str, *, is_css: bool = False) -> list[str]:
    """Return the addresses of other hosts that a page or a style sheet loads; links that a reader clicks are none."""
    if is_css:
        return _CSS.findall(text)
    parser = _Loads()
    parser.feed(text)
    return parser.found


def foreign_loads_of_site(folder: Path) -> list[str]:
    """Return "FILE loads ADDRESS" for every page and style sheet of a built site that loads from another host."""
    return [
        f"{file.relative_to(folder)} loads {address}"
        for file in sorted(folder.rglob("*"))
        if file.suffix in (".html", ".css")
        for address in foreign_loads(file.read_text("utf-8"), is_css=file.suffix == ".css")
    ]

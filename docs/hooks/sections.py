"""Sections of the project's own Markdown files, and their links as links between pages of the site.

README.md and ARCHITECTURE.md are written to be read on their own. The site shows parts of them and copies nothing.
"""

import posixpath
import re
from collections.abc import Callable, Iterator, Mapping

_HEADING = re.compile(r"(#{1,6}) +(.+?) *$")
_LINK = re.compile(r"(?<=\]\()(?!https?://|mailto:)([^)\s]+)(?=\))")


class SectionError(Exception):
    """A page includes what is not there, or a text links to what is no page."""


def section(markdown: str, heading: str) -> str:
    """Return the text under a heading, with the headings below it, up to the next heading of its level.

    Of a title (`#`) it is the text before the first heading. Headings are raised, so that those directly below
    become `##`: the page has its own title.

    Raises:
        SectionError: there is no such heading.
    """
    lines = markdown.splitlines()
    headings = list(_headings(lines))
    for position, (number, level, text) in enumerate(headings):
        if text == heading:
            after = headings[position + 1 :]
            ends = (index for index, other, _ in after if level == 1 or other <= level)
            end = next(ends, len(lines))
            below = {index: other for index, other, _ in after}
            kept = [_raised(lines[index], below.get(index), level - 1) for index in range(number + 1, end)]
            return "\n".join(kept).strip() + "\n"
    raise SectionError(f"There is no heading {heading!r}; there are {', '.join(text for _, _, text in headings)}.")


def slug(heading: str) -> str:
    """Return a heading's anchor, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def with_page_links(markdown: str, file: str, pages: Mapping[str, str]) -> str:
    """Return a file's Markdown with links to other files of the project replaced by links to pages.

    A link to `docs/NAME.md`, a page of the site itself, keeps its anchor; a section of another file may be on any page.

    Args:
        markdown: of the file, or of a part of it.
        file: its path in the project; its links are relative to that.
        pages: from a path in the project, or a path with "#anchor", to a page of the site.

    Raises:
        SectionError: a link leads to nothing that `pages` knows.
    """

    def page(match: re.Match[str]) -> str:
        path, _, anchor = match[1].partition("#")
        target = posixpath.normpath(posixpath.join(posixpath.dirname(file), path)) if path else file
        if re.fullmatch(r"docs/[^/]+\.md", target):
            return posixpath.basename(target) + (f"#{anchor}" if anchor else "")
        for known in (f"{target}#{anchor}", target):
            if known in pages:
                return pages[known]
        raise SectionError(f"{file} links to {match[1]!r}, which is no page of the site. Name its page in PAGES.")

    return "".join(text if fenced else _LINK.sub(page, text) for text, fenced in _blocks(markdown))


def replace_directives(markdown: str, replace: Callable[[str], str]) -> str:
    """Return a page in which each line `<!-- site: WORDS -->` is what `replace` makes of its words."""
    return re.sub(r"^<!-- site: (.+?) -->$", lambda match: replace(match[1]), markdown, flags=re.MULTILINE)


def _headings(lines: list[str]) -> Iterator[tuple[int, int, str]]:
    """Yield line number, level and text of each heading outside code blocks."""
    fenced = False
    for number, line in enumerate(lines):
        fenced ^= line.startswith("```")
        match = None if fenced else _HEADING.match(line)
        if match:
            yield number, len(match[1]), match[2]


def _raised(line: str, level: int | None, by: int) -> str:
    return line if level is None else line[by:]


def _blocks(markdown: str) -> Iterator[tuple[str, bool]]:
    """Yield the text in parts, and whether each is a code block."""
    for number, part in enumerate(re.split(r"(^```.*?^```$)", markdown, flags=re.MULTILINE | re.DOTALL)):
        yield part, number % 2 == 1

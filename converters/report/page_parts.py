"""The parts that sections of the page are made of: headings, tables, folded details, legends, links; all HTML text."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from converters.report.markup import escape_html

_STYLE_SHEET = Path(__file__).with_name("report.css")
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


class Markup(str):
    """Text that is HTML already and must not be escaped again."""

    __slots__ = ()


def page(title: str, content: str) -> str:
    """Return a whole page, which fetches nothing, runs no script, and is light or dark by the reader's setting.

    Args:
        title: the title, as text.
        content: what the page shows, as HTML.
    """
    style = _STYLE_SHEET.read_text(encoding="utf-8")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape_html(title)}</title>\n<style>{style}</style>\n</head>\n"
        f"<body>\n<main>\n{content}</main>\n</body>\n</html>\n"
    )


def tiles(figures: Iterable[tuple[str, str]]) -> str:
    """Return the largest figures of a page: each a value, and words of HTML."""
    boxes = "".join(f'<div class="tile"><b>{value}</b><span>{words}</span></div>' for value, words in figures)
    return f'<div class="tiles">{boxes}</div>'


def section(title: str, words: str, *parts: str) -> str:
    """Return a section with its heading, a paragraph of HTML, and what follows."""
    return f"<section><h2>{title}</h2>\n<p>{words}</p>\n{''.join(parts)}</section>\n"


def wide(content: str) -> str:
    """Wrap content that may be wider than the screen of a telephone, so that it can be scrolled."""
    return f'<div class="wide" tabindex="0">{content}</div>'


def folded(title: str, content: str) -> str:
    """Return content that is shown after a click on its title."""
    return f"<details><summary>{title}</summary>{wide(content)}</details>"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table; cells are escaped unless they are `Markup`."""
    titles = "".join(f'<th scope="col">{title}</th>' for title in head)
    lines = "".join("<tr>" + "".join(f"<td>{_cell(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{titles}</tr></thead><tbody>{lines}</tbody></table>"


def linked(text: object, address: str | None) -> Markup:
    """Return text as a link that opens in a tab of its own, or as escaped text if no address is known."""
    words = escape_html(text)
    if address is None:
        return Markup(words)
    return Markup(f'<a href="{escape_html(address)}" target="_blank" rel="noopener noreferrer">{words}</a>')


def legend(entries: Iterable[tuple[str, str]]) -> str:
    """Return a list of the colours and line styles of a chart, with their meanings."""
    lines = ("marker", "before", "after", "line c-iou", "line c-accepted")
    items = []
    for css, words in entries:
        mark = (
            f'<path class="{css}" d="M1 8H21"/>'
            if css in lines
            else f'<rect class="{css}" x="3" y="2" width="12" height="12"/>'
        )
        items.append(f'<li><svg width="22" height="16" aria-hidden="true">{mark}</svg>{words}</li>')
    return f'<ul class="legend">{"".join(items)}</ul>'


def _cell(cell: object) -> str:
    return cell if isinstance(cell, Markup) else escape_html(cell)

"""Text from exports in pages: nothing in it becomes markup, and everything can be written as UTF-8."""

import html
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.report.markup import escape_html, escape_markdown, markdown_table, plain, shorten

anything = st.text(st.characters(codec=None), max_size=30)


class Reader(HTMLParser):
    """Collects the text and the tags of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.text, self.tags = "", list[str]()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


@given(anything)
def test_any_text_is_text_in_html(text: str) -> None:
    reader = Reader()
    reader.feed(f'<p title="{escape_html(text)}">{escape_html(text)}</p>')
    reader.close()
    assert reader.tags == ["p"]
    assert reader.text == plain(text)


@given(anything)
def test_any_text_is_one_cell_of_markdown_and_can_be_written(text: str) -> None:
    cell = escape_markdown(text)
    assert "\n" not in cell
    assert "<" not in cell
    assert "|" not in cell.replace("\\\\", "").replace("\\|", "")
    cell.encode("utf-8")
    unescaped = html.unescape("".join(cell[i] for i in range(len(cell)) if not _is_escape(cell, i)))
    assert unescaped == html.unescape(html.escape(plain(text), quote=False))


def _is_escape(text: str, index: int) -> bool:
    """Tell whether a backslash escapes what follows: an odd one of those in a row."""
    before = len(text[:index]) - len(text[:index].rstrip("\\"))
    return text[index] == "\\" and before % 2 == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\r\n\tb", "a b"),
        ("\x00\x1b\u202e\ud800", "����"),  # NUL, escape, right-to-left override, half a surrogate pair
        (None, "None"),
        ("Straße 猫", "Straße 猫"),
    ],
)
def test_control_characters_are_shown_as_such(text: object, expected: str) -> None:
    assert plain(text) == expected


def test_markdown_makes_no_links() -> None:
    assert escape_markdown("https://a.b www.a.b [x](y)") == r"https\://a.b www\.a.b \[x\](y)"


def test_long_text_ends_in_an_ellipsis() -> None:
    assert shorten("traffic light", 13) == "traffic light"
    assert shorten("traffic lights", 9) == "traffic…"


def test_a_table_has_a_line_for_each_row() -> None:
    assert markdown_table(("a", "b"), [("1", "2")]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"

"""An evaluation as one page: whole, escaped, and without a request."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from backend.command.evaluation.examples import Example
from backend.command.evaluation.page import MOST_CELLS, result_to_html
from ovdiff.evaluation.result import Result

_VOID = {"meta", "img", "path", "rect", "circle", "line"}


class _Reader(HTMLParser):
    """Collects text and addresses, and sees whether each tag is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text, self.addresses, self._open, self.alts = "", list[str](), list[str](), list[str]()
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag != "script"
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]
        self.alts += [value or "" for name, value in attrs if name == "alt"]
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Ignore it: it is closed."""

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def _many(result: Result, count: int) -> Result:
    """Return a result with so many categories, each confused with the next."""
    row = next(row for row in result.figures["categories"] if row["name"] == "red")
    names = [f"class {number}" for number in range(count)]
    confusion = [[0] * (count + 1) for _ in range(count + 1)]
    for label in range(1, count + 1):
        confusion[label][label] = 100
        confusion[label][label % count + 1] = label
    figures = {
        **result.figures,
        "categories": [{**row, "name": name, "iou": place / count} for place, name in enumerate(names)],
        "confusion": confusion,
    }
    categories = tuple({"name": name, "prompts": [name], "kind": ""} for name in names)
    return replace(result, figures=figures, categories=categories)


def test_the_page_shows_figures_and_images_and_fetches_nothing(result: Result, examples: tuple[Example, ...]) -> None:
    made = _Reader(result_to_html(result, examples))
    assert len(made.addresses) == 27 and all(each.startswith("data:image/jpeg;base64,") for each in made.addresses)
    assert made.alts[:3] == [f"{examples[0].name}: {what}" for what in ("truth", "prediction", "wrong pixels")]
    low, high = result.measures["miou_interval"]
    for words in (
        "fake on squares",
        "12 of 13 images",
        f"{result.measures['miou']:.3f} ({low:.2f} to {high:.2f})",
        "The worst images",
        "Images in the middle",
        "The best images",
        examples[0].wrong,
        examples[0].why,
        "2, drawn at random",
        "square-12",
        "It is <b>damaged</b>.",
        "What the words mean",
    ):
        assert words in made.text


def test_an_interrupted_run_has_a_page_without_pictures(result: Result) -> None:
    made = _Reader(result_to_html(replace(result, failed=(), dataset={**result.dataset, "images": 500})))
    assert "488 were not evaluated: the run was limited or interrupted" in made.text
    assert "A run that was interrupted has no pictures." in made.text
    assert made.addresses == []


def test_names_are_text_and_never_markup(result: Result, examples: tuple[Example, ...]) -> None:
    nasty = '<img src="http://elsewhere/x">'
    named = replace(examples[0], name=nasty, wrong=nasty, why=nasty, stages=((nasty,), (nasty,)), removed=(nasty,))
    categories = tuple({**each, "name": nasty} for each in result.categories)
    rows = [{**row, "name": nasty} for row in result.figures["categories"]]
    made = replace(
        result,
        dataset={**result.dataset, "name": nasty, "notes": [nasty]},
        categories=categories,
        figures={**result.figures, "categories": rows},
    )
    read = _Reader(result_to_html(made, (named,)))
    assert all(each.startswith("data:") for each in read.addresses)
    assert read.text.count(nasty) > 10


@pytest.mark.parametrize("count", [171, 300])
def test_many_classes_have_small_cells_and_a_list_of_confusions(result: Result, count: int) -> None:
    text = result_to_html(_many(result, count))
    made = _Reader(text)
    shown = min(count, MOST_CELLS)
    assert len(re.findall(r'class="label right dense"', text)) == shown
    assert ("with the most mistaken pixels, of 300" in made.text) == (count > MOST_CELLS)
    assert "The 30 largest confusions" in made.text
    first = re.search(r"<td>(class \d+)</td><td>(class \d+)</td><td>\d+</td>", text)
    assert first is not None and first.groups() == (f"class {count - 1}", "class 0")
    assert "The 40 lowest of" in made.text
    assert len(text) < 1_000_000


def test_a_perfect_run_and_one_without_a_painted_word(result: Result) -> None:
    figures = {**result.figures, "confusion": [[9, 0, 0, 0]] + [[0] * 4] * 3, "reliability": {"bins": []}}
    made = _Reader(result_to_html(replace(result, figures=figures, seconds={})))
    assert "No pixel has another label than it should." in made.text
    assert "No word was painted." in made.text and "No time was measured." in made.text

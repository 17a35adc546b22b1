"""The report as an HTML page: the numbers, nothing fetched, nothing run, nothing of an export as markup."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from converters.corrections.scores import CorrectionScores
from converters.records import DatasetCategory
from converters.report.html import report_to_html
from converters.report.links import LabelStudioPages
from tests.fakes.corrections import SIZE_HW, box, corrected, region, scores_of, scores_of_two_versions

NASTY = '"><script>alert(1)</script><img src=http://evil.example/x> | [a](javascript:b)'
LEFT, WIDER, RIGHT = box(0, 0, 6, 3), box(0, 0, 6, 4), box(0, 5, 6, 8)


@pytest.fixture(scope="module")
def scores() -> CorrectionScores:
    return scores_of_two_versions()


class Page(HTMLParser):
    """Collects what a browser would: tags with their attributes, and the text of cells, headings, captions."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_fetches_nothing_and_runs_nothing(scores: CorrectionScores) -> None:
    text = report_to_html(scores.report("export.json"), scores.worst())
    page = Page(text)
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "link", "iframe", "object", "img", "form", "base"}
    assert ("meta", "default-src 'none'; img-src data:; style-src 'unsafe-inline'") in [
        (tag, attributes.get("content")) for tag, attributes in page.tags
    ]
    for _, attributes in page.tags:
        assert not [key for key in attributes if key.startswith("on") or key in ("src", "xlink:href")]
        assert (attributes.get("href") or "data:").startswith("data:")
    assert not re.search(r"https?:|url\(|@import", text)


def test_the_page_says_the_numbers_and_every_chart_has_words(scores: CorrectionScores) -> None:
    page = Page(report_to_html(scores.report("export.json"), scores.worst()))
    for words in ("50.0 %", "40.0 %", "30.0 s", "v1", "image that nobody has annotated", "dog added"):
        assert words in page.text, words
    pictures = [attributes for tag, attributes in page.tags if tag == "svg" and attributes.get("role") == "img"]
    assert len(pictures) == 5 + 1  # five charts, one image that was not accepted as it was
    assert all(attributes.get("aria-label") for attributes in pictures)


def test_names_from_the_export_stay_text() -> None:
    categories = (DatasetCategory(1, NASTY),)
    record = corrected(
        [region("a", LEFT, NASTY, score=0.5)],
        [region("a", WIDER, NASTY), region("b", RIGHT, NASTY + "unknown")],
        image=f"/data/upload/1/{NASTY}.png",
        model_version=NASTY,
        created_at=NASTY,
    )
    found = scores_of(record, categories=categories)
    text = report_to_html(found.report(NASTY), found.worst())
    assert not {tag for tag, _ in Page(text).tags} & {"script", "img"}
    assert NASTY in Page(text).text


@settings(max_examples=25, deadline=None)
@given(st.text(st.characters(codec=None), min_size=1, max_size=12))
def test_any_name_makes_a_page_that_can_be_written(name: str) -> None:
    record = corrected([region("a", LEFT, name)], [region("a", WIDER, name)], image=name, model_version=name)
    found = scores_of(record, categories=(DatasetCategory(1, name),))
    page = report_to_html(found.report(name), found.worst())
    page.encode("utf-8")
    assert [tag for tag, _ in Page(page).tags].count("figure") == 1


def test_many_categories_and_versions_are_cut_and_that_is_said() -> None:
    categories = tuple(DatasetCategory(number, f"c{number}") for number in range(1, 61))
    rows, columns = [c.id // 8 % 6 for c in categories], [c.id % 8 for c in categories]
    before = [
        region(c.name, box(row, column, row + 1, column + 1), c.name)
        for c, row, column in zip(categories, rows, columns, strict=True)
    ]
    records = [corrected(before, before, task_id=n, model_version=f"v{n}") for n in range(45)]
    text = Page(report_to_html(scores_of(*records, categories=categories).report("x"))).text
    assert "The 40 lowest of 60 categories." in text
    assert "None of the 48 labels has a mistaken pixel." in text
    assert "The last 40 of 45." in text


@pytest.mark.parametrize(
    ("swapped", "words", "shown"),
    [
        (2, "Shown are the 2 labels that have mistaken pixels; 46 have none.", 2),
        (30, "Shown are the 14 labels with the most mistaken pixels of 30 that have any, percentages of what is", 14),
    ],
)
def test_labels_without_a_mistaken_pixel_are_no_rows_of_a_table_that_is_cut(
    swapped: int, words: str, shown: int
) -> None:
    names = [f"c{number}" for number in range(48)]
    given = [*names[1:swapped], names[0], *names[swapped:]]
    places = [box(number // 8, number % 8, number // 8 + 1, number % 8 + 1) for number in range(48)]
    before, after = (
        [region(f"r{number}", place, name) for number, (place, name) in enumerate(zip(places, labels, strict=True))]
        for labels in (given, names)
    )
    categories = tuple(DatasetCategory(number, name) for number, name in enumerate(names, start=1))
    page = report_to_html(scores_of(corrected(before, after), categories=categories).report("x"))
    assert words in Page(page).text
    assert len(set(re.findall(r"(c\d+) predicted as", page))) == shown
    assert "c47 predicted as" not in page


def test_nothing_measured_makes_a_page_too() -> None:
    found = scores_of(corrected([], []))
    assert "No predicted region had a score." in report_to_html(found.report("x"))


def test_pictures_hold_the_image_where_there_is_a_folder(scores: CorrectionScores, tmp_path: Path) -> None:
    Image.new("RGB", SIZE_HW[::-1], "red").save(tmp_path / "1.png")
    with_images = Page(report_to_html(scores.report("x"), scores.worst(), images=tmp_path))
    (image,) = [attributes for tag, attributes in with_images.tags if tag == "image"]
    assert (image["href"] or "").startswith("data:image/jpeg;base64,")
    (tmp_path / "1.png").unlink()
    without = Page(report_to_html(scores.report("x"), scores.worst(), images=tmp_path))
    assert "Without the image: no file '1.png' in the folder of images." in without.text


def test_tasks_are_links_where_label_studio_is_known(scores: CorrectionScores) -> None:
    pages = LabelStudioPages("http://labels.example.org/<x>", 7)
    page = Page(report_to_html(scores.report("x"), scores.worst(), pages=pages))
    links = [attributes for tag, attributes in page.tags if tag == "a"]
    address = "http://labels.example.org/<x>/projects/7/data?task=1"
    assert [link["href"] for link in links] == [address] * 2  # in what to do first, under the worst picture
    assert all(link["rel"] == "noopener noreferrer" for link in links)
    assert "<x>" not in report_to_html(scores.report("x"), scores.worst(), pages=pages)


def test_what_to_do_first_stands_before_the_figures(scores: CorrectionScores) -> None:
    text = report_to_html(scores.report("x"))
    assert text.index("What to do first") < text.index('class="tile"')
    first = text[text.index("What to do first") : text.index('class="tile"')]
    assert first.count("<li>") == 3
    assert "of predicted regions accepted as they were (1 of 2: too few to say)" in text


def test_splits_and_merges_are_called_by_their_names() -> None:
    whole, halves = [region("a", box(0, 0, 6, 8))], [region("a", LEFT), region("b", RIGHT)]
    found = scores_of(corrected(whole, halves), corrected(halves, whole, task_id=2))
    text = Page(report_to_html(found.report("x"), found.worst())).text
    assert "1 predicted region was split into several and 1 annotated region was merged from several." in text
    assert "cat split into 2." in text and "2 of cat merged into one." in text

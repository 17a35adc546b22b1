"""The report as Markdown: the numbers in tables, and nothing of an export as markup."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converters.corrections.result import CorrectionReport
from converters.records import DatasetCategory
from converters.report.links import LabelStudioPages
from converters.report.markdown import report_to_markdown
from tests.fakes.corrections import box, corrected, region, scores_of, scores_of_two_versions

NASTY = '"><script>alert(1)</script><img src=http://evil.example/x> | [a](javascript:b)'
LEFT, WIDER = box(0, 0, 6, 3), box(0, 0, 6, 4)


@pytest.fixture(scope="module")
def report() -> CorrectionReport:
    return scores_of_two_versions().report("export.json")


def test_the_page_says_the_numbers_in_tables(report: CorrectionReport) -> None:
    page = report_to_markdown(report)
    assert "2 corrections by one person" in page
    assert "| Regions accepted | 1 of 2 (too few to say) |" in page
    dog = "| dog | 0.000 (1 image: too few to say) | 0.000 | 0.000 | 0.000 | 0.000 | 0 | 0 | 0 | 0 | 1 | 0 | 0 |"
    assert f"{dog} 100.0 % |" in page
    assert "## What to do first\n\n1. Correct more images before you change anything" in page
    assert "| (unknown) | 2 | 2 | 1 of 2 (too few to say) | 1 | 0, 0 | 40.0 % | 30.0 s |" in page
    assert "| small (below 32 x 32 px) | 2 | 1 of 2 (too few to say) | 0 | 1 | 2 of 3 (too few to say) |" in page
    assert "| v2 | 2026-02-01 | 1 | 1.000 | 100.0 % | 0.0 % | – |" in page
    assert "| image that nobody has annotated | 1 | no correction |" in page


def test_tables_have_as_many_cells_in_every_row(report: CorrectionReport) -> None:
    for table in re.findall(r"(?:^\|.*\n)+", report_to_markdown(report), flags=re.MULTILINE):
        assert len({line.count("|") for line in table.splitlines()}) == 1


def test_names_from_the_export_stay_text() -> None:
    record = corrected(
        [region("a", LEFT, NASTY)], [region("a", WIDER, NASTY)], image=NASTY, model_version=NASTY, created_at=NASTY
    )
    page = report_to_markdown(scores_of(record, categories=(DatasetCategory(1, NASTY),)).report(NASTY))
    assert "<script" not in page and "<img" not in page
    assert not re.search(r"(?<!\\)\]\(", page)


@settings(max_examples=25, deadline=None)
@given(st.text(st.characters(codec=None), min_size=1, max_size=12))
def test_any_name_makes_a_page_that_can_be_written(name: str) -> None:
    record = corrected([region("a", LEFT, name)], [region("a", WIDER, name)], image=name, model_version=name)
    page = report_to_markdown(scores_of(record, categories=(DatasetCategory(1, name),)).report(name))
    page.encode("utf-8")
    for table in re.findall(r"(?:^\|.*\n)+", page, flags=re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


def test_nothing_measured_makes_a_page_too() -> None:
    assert "–" in report_to_markdown(scores_of(corrected([], [])).report("x"))


def test_tasks_are_links_where_label_studio_is_known(report: CorrectionReport) -> None:
    page = report_to_markdown(report, LabelStudioPages("http://labels.example.org", 7))
    assert "| [1](<http://labels.example.org/projects/7/data?task=1>) |" in page
    assert "](<" not in report_to_markdown(report)

"""A comparison as text, Markdown and HTML."""

from dataclasses import replace
from pathlib import Path

import pytest

from backend.command.evaluation.comparison_pages import (
    comparison_text,
    comparison_to_html,
    comparison_to_markdown,
    difference_sentences,
    difference_words,
)
from ovdiff.evaluation.comparison import Comparison, Difference, compare_evaluations
from tests.fakes.coloured_dataset import Squares
from tests.fakes.engine import FakeEngine
from tests.fakes.evaluations import HalfBlind, evaluated


@pytest.fixture
def found(tmp_path: Path) -> Comparison:
    """Squares by an engine that sees, and by one that finds half of what is green."""
    evaluated(tmp_path / "sees", FakeEngine(tmp_path / "bank", "sees"), Squares(24)())
    evaluated(tmp_path / "blind", HalfBlind(tmp_path / "bank"), Squares(24)())
    return compare_evaluations((tmp_path / "sees", tmp_path / "blind"))


def test_the_sentence_names_what_is_clearly_better_and_worse(found: Comparison) -> None:
    (said,) = difference_sentences(found)
    assert said.startswith("half blind: mIoU -0.") and said.endswith(
        "against sees; clearly better in no category, worse in background, green."
    )
    same = replace(found, miou_differences=(Difference(0.01, (-0.01, 0.02), False),))
    assert "against sees, which may be chance; " in next(difference_sentences(same))


@pytest.mark.parametrize(
    ("difference", "words"),
    [
        (Difference(0.031, (0.01, 0.052), True), "+0.031 (+0.010 to +0.052) *"),
        (Difference(-0.5, None, False), "-0.500"),
        (Difference(None, None, False), "–"),
    ],
)
def test_a_difference_has_its_sign_its_range_and_a_star(difference: Difference, words: str) -> None:
    assert difference_words(difference) == words


def test_all_three_forms_hold_every_row(found: Comparison) -> None:
    text, markdown, page = comparison_text(found), comparison_to_markdown(found), comparison_to_html(found)
    assert text.startswith("sees and half blind on 24 images of squares")
    for name in ("mIoU", "AP50", "red", "green", "blue"):
        assert f"\n{name} " in text and f"\n| {name} | " in markdown and f"<td>{name}</td>" in page
    green = difference_words(found.categories[2].differences[0])
    assert green in text and green in page and green.replace("*", "\\*") in markdown


def test_names_are_escaped(found: Comparison) -> None:
    nasty = replace(found, names=("<u>|", "x"), notes=("<i>|",))
    assert "<u>" not in comparison_to_html(nasty) and "<i>" not in comparison_to_html(nasty)
    assert "&lt;u&gt;\\|" in comparison_to_markdown(nasty) and "<i>" not in comparison_to_markdown(nasty)

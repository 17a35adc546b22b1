"""How reports write numbers, and the sentences that depend on what was found."""

import pytest

from converters.corrections.pairs import NOT_IN_EXPORT, find_corrections
from converters.records import Annotation, ImageRecord
from converters.report.text import (
    NOTHING,
    WHERE_PREDICTIONS_ARE,
    counted,
    missing_sentence,
    number,
    occurring,
    percent,
    reliability_sentence,
    seconds,
    seconds_sentence,
    summary,
    thousands,
    version_name,
)
from tests.fakes.corrections import box, corrected, region, scores_of, scores_of_two_versions


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (number(0.98765), "0.988"),
        (number(0.0), "0.000"),
        (number(None), NOTHING),
        (percent(0.1234), "12.3 %"),
        (percent(2.5), "250.0 %"),
        (percent(None), NOTHING),
        (seconds(119.94), "119.9 s"),
        (seconds(120), "2.0 min"),
        (seconds(None), NOTHING),
        (counted(1, "region"), "1 region"),
        (counted(0, "region"), "0 regions"),
        (counted(1234567, "region"), f"{thousands(1234567)} regions"),
        (version_name("v1"), "v1"),
        (version_name(""), "(no version)"),
    ],
)
def test_numbers_and_names_are_written_alike_everywhere(said: str, expected: str) -> None:
    assert said == expected


def test_groups_of_digits_are_told_apart() -> None:
    assert [part for part in thousands(1234567) if not part.isdigit()] == [thousands(1000)[1]] * 2
    assert "".join(filter(str.isdigit, thousands(1234567))) == "1234567"


def test_the_summary_says_what_went_in_and_what_came_out() -> None:
    assert summary(scores_of_two_versions().report("x")) == (
        "2 corrections by one person were compared with the predictions they replaced, in an export of 3 images. "
        "Of 2 predicted regions, 1 were accepted as they were, 1 changed and 0 removed; 1 were added."
    )


def test_times_are_said_where_they_are_known() -> None:
    assert seconds_sentence(scores_of(corrected([], [])).report("x")) == ""
    quick = corrected([], [], lead_time_s=30.0)
    assert seconds_sentence(scores_of(quick).report("x")) == "A correction took 30.0 s (median of 1, 30.0 s in all)."
    scores = scores_of(quick)
    scratch = ImageRecord(2, "b.png", "image", annotations=(Annotation(5, (), lead_time_s=180.0),))
    for item in find_corrections(scratch):
        scores.add(item)
    assert seconds_sentence(scores.report("x")).endswith(
        "an annotation without a prediction took 3.0 min (median of 1)."
    )


def test_scores_are_weighed_where_there_are_any() -> None:
    assert reliability_sentence(scores_of(corrected([], [])).report("x")) == "No predicted region had a score."
    before = [region("a", box(0, 0, 2, 2), score=1.0), region("b", box(3, 3, 5, 5))]
    assert reliability_sentence(scores_of(corrected(before, before)).report("x")) == (
        "1 region with a score. Expected calibration error: 0.000 against IoU, 0.000 against being accepted. "
        "1 region had no score between 0 and 1."
    )


def test_how_to_get_predictions_is_said_only_where_they_are_missing() -> None:
    assert missing_sentence(scores_of_two_versions().report("x")) == ""
    lost = ImageRecord(1, "a.png", "image", annotations=(Annotation(5, (), parent_prediction=9),))
    report = scores_of(lost).report("x")
    assert report.counts.left_out == {NOT_IN_EXPORT: 1}
    assert missing_sentence(report) == WHERE_PREDICTIONS_ARE


def test_only_categories_that_occur_are_listed() -> None:
    report = scores_of(corrected([region("a", box(0, 0, 2, 2), "dog")], [])).report("x")
    assert [category.name for category in report.categories] == ["cat", "dog"]
    (dog,) = occurring(report)
    assert dog.name == "dog" and dog.regions.predicted == dog.regions.removed == 1

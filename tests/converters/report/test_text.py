"""How reports write numbers, and the sentences that depend on what was found."""

import pytest

from converters.corrections.pairs import NOT_IN_EXPORT, find_corrections
from converters.records import Annotation, ImageRecord
from converters.report.text import (
    DEFINITIONS,
    NOTHING,
    WHERE_PREDICTIONS_ARE,
    counted,
    interval_words,
    iou_words,
    missing_sentence,
    number,
    occurring,
    percent,
    range_words,
    reliability_sentence,
    seconds,
    seconds_sentence,
    summary,
    thousands,
    threshold_sentence,
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


def test_a_share_is_said_with_its_range_or_with_its_counts() -> None:
    assert interval_words(90, 100) == "90 % (83 to 94 %)"
    assert interval_words(9, 9) == "9 of 9 (too few to say)"
    assert interval_words(10, 10) == "100 % (72 to 100 %)"
    assert interval_words(0, 0) == "–"


def test_an_iou_has_a_range_where_there_are_images_enough() -> None:
    before, after = [region("a", box(0, 0, 6, 4))], [region("a", box(0, 0, 6, 8))]
    many = scores_of(*[corrected(before, after, task_id=number) for number in range(12)]).report("x")
    few = scores_of(corrected(before, after)).report("x")
    assert [iou_words(category) for category in many.categories] == ["0.500 (0.50 to 0.50)", "–"]
    assert iou_words(few.categories[0]) == "0.500 (1 image: too few to say)"
    assert range_words(None) == "" and range_words((0.25, 0.5)) == " (0.25 to 0.50)"


def test_thresholds_are_said_or_their_absence() -> None:
    bad = [corrected([region("a", box(0, 0, 6, 4), score=0.15)], [], task_id=n) for n in range(40)]
    cat = region("a", box(0, 0, 6, 4), score=0.95)
    good = [corrected([cat], [cat], task_id=n) for n in range(60)]
    assert threshold_sentence(scores_of(*bad, *good).report("x")) == (
        "Below a score of 0.2, 0 % (0 to 9 %) of 40 regions were worth correcting: hide these. From 0.9 on, 100 % (94 "
        "to 100 %) of 60 regions were accepted as they were: samples of these are enough."
    )
    assert threshold_sentence(scores_of(*bad[:3]).report("x")).startswith("There are too few scored regions")
    mixed = [corrected([cat], [region("a", box(0, 0, 6, 3))], task_id=n) for n in range(60)]
    assert threshold_sentence(scores_of(*mixed).report("x")) == (
        "No score is so low that its regions cost more than they save: hide none. No score is so high that samples of "
        "its regions would be enough: look at all."
    )


def test_the_definitions_name_the_settings_that_the_advice_names() -> None:
    assert "OVDIFF_MIN_SCORE" in dict(DEFINITIONS)["Worth correcting"]

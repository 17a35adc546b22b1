"""Sums over corrections: overlaps, labels without a category, versions, times, and the images kept as the worst."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn import metrics

from converters.corrections.pairs import find_corrections
from converters.corrections.result import CorrectionReport
from converters.corrections.scores import CorrectionScores
from converters.records import ImageRecord, Region
from tests.fakes.corrections import CATEGORIES, SIZE_HW, box, corrected, region

LEFT, RIGHT = box(0, 0, 6, 4), box(0, 4, 6, 8)


def scores_of(*records: ImageRecord, worst_count: int = 8) -> CorrectionScores:
    scores = CorrectionScores(CATEGORIES, worst_count=worst_count)
    for record in records:
        for item in find_corrections(record):
            scores.add(item)
    return scores


def report_of(*records: ImageRecord) -> CorrectionReport:
    return scores_of(*records).report("test")


def test_categories_keep_their_order_and_ids() -> None:
    report = report_of(corrected([region("a", LEFT)], [region("a", LEFT)]))
    assert [(category.id, category.name) for category in report.categories] == [(3, "cat"), (1, "dog")]
    assert (report.categories[0].iou, report.categories[1].iou) == (1.0, None)


def test_mean_iou_is_that_of_scikit_learn_over_all_images() -> None:
    generator = np.random.default_rng(0)
    truths, givens, records = [], [], []
    for task in range(5):
        truth, given = generator.integers(0, 3, (2, *SIZE_HW))
        before, after = (
            [region(name, labels == label, name) for label, name in ((1, "cat"), (2, "dog"))]
            for labels in (given, truth)
        )
        records.append(corrected(before, after, task_id=task))
        truths.append(truth.ravel())
        givens.append(given.ravel())
    theirs = metrics.jaccard_score(np.concatenate(truths), np.concatenate(givens), average=None)
    report = report_of(*records)
    assert report.quality.mean_iou == pytest.approx(theirs.mean())
    assert report.quality.mean_iou_without_background == pytest.approx(theirs[1:].mean())
    assert [category.iou for category in report.categories] == pytest.approx(theirs[1:])


def test_overlaps_are_resolved_by_score_and_counted() -> None:
    before = [region("a", box(0, 0, 6, 6), score=0.9), region("b", box(0, 4, 6, 8), "dog", score=0.5)]
    after = [region("a", box(0, 0, 6, 6)), region("b", box(0, 6, 6, 8), "dog")]
    report = report_of(corrected(before, after))
    assert report.counts.overlapping_px == 12
    assert [category.iou for category in report.categories] == [1.0, 1.0]  # the cat's score is higher
    assert (report.regions.accepted, report.regions.changed) == (1, 1)  # yet the dog was changed


def test_the_task_s_score_stands_for_a_region_without_one() -> None:
    report = report_of(corrected([region("a", LEFT), region("b", RIGHT, score=0.3)], [], score=0.75))
    assert [bin_.regions for bin_ in report.reliability.bins] == [0, 0, 0, 1, 0, 0, 0, 1, 0, 0]


def test_a_relabelled_region_is_no_agreement_for_its_score() -> None:
    report = report_of(corrected([region("a", LEFT, score=0.5)], [region("a", LEFT, "dog")]))
    assert report.reliability.bins[5].mean_iou == 0.0
    assert report.regions.relabelled == 1


def test_regions_without_a_category_are_left_out_and_said() -> None:
    before = [region("a", LEFT, "cow"), region("b", RIGHT)]
    after = [replace(region("x", LEFT), labels=()), region("b", RIGHT)]
    report = report_of(corrected(before, after))
    assert report.counts.left_out == {"label that is no category": 1, "region without a label": 1}
    assert report.counts.details[0] == "label that is no category: task 1, prediction 21, region 'a': 'cow'"
    assert report.counts.details[1] == "region without a label: task 1, annotation 11, region 'x'"
    assert (report.counts.predicted_regions, report.counts.annotated_regions) == (1, 1)
    assert report.quality.mean_iou == 1.0


def test_a_region_of_an_unknown_label_counts_for_what_it_was_renamed_to() -> None:
    report = report_of(corrected([region("a", LEFT, "cow")], [region("a", LEFT, "dog")]))
    assert report.categories[1].regions.relabelled == 1


def test_a_region_of_two_labels_counts_for_both() -> None:
    both = [region("a", LEFT, "cat", "dog")]
    report = report_of(corrected(both, both))
    assert report.regions.accepted == 1
    assert report.counts.left_out == {}
    assert report.confusion.pixels == ((24, 0, 0), (0, 24, 0), (0, 0, 0))  # a pixel has one: the first


def test_nothing_predicted_and_nothing_marked_is_a_correction_too() -> None:
    report = report_of(replace(corrected([], []), size_hw=None))
    assert report.counts.corrections_out == 1
    assert (report.quality.mean_iou, report.regions.accepted_share, report.pixels.changed_share) == (None, None, None)


def test_seconds_count_once_for_all_images_of_a_task() -> None:
    first = corrected([region("a", LEFT)], [], task_id=1, lead_time_s=40.0)
    report = report_of(first, replace(first, index=1), corrected([], [], task_id=2, lead_time_s=10.0))
    assert (report.seconds.corrected.annotations, report.seconds.corrected.total) == (2, 50.0)
    assert report.counts.corrections_out == 3


def test_versions_without_a_time_come_last_as_they_came() -> None:
    records = [
        corrected([], [], task_id=number, model_version=version, created_at=time)
        for number, (version, time) in enumerate([("c", ""), ("b", "2026-02"), ("d", ""), ("a", "2026-03"), ("b", "")])
    ]
    versions = report_of(*records).versions
    assert [(v.model_version, v.first_seen, v.corrections) for v in versions] == [
        ("b", "2026-02", 2),
        ("a", "2026-03", 1),
        ("c", "", 1),
        ("d", "", 1),
    ]


def test_the_worst_are_kept_worst_first_and_no_more_than_wanted() -> None:
    records = [
        corrected([region("a", box(0, 0, 6, 8 - width))], [region("a", box(0, 0, 6, 8))], task_id=width)
        for width in (3, 0, 7, 5, 1)
    ]
    scores = scores_of(*records, worst_count=3)
    report = scores.report("test")
    assert [(worst.task_id, worst.mean_iou) for worst in report.worst] == [(7, 1 / 8), (5, 3 / 8), (3, 5 / 8)]
    assert [item.record.task_id for item in scores.worst()] == [7, 5, 3]
    assert scores_of(*records, worst_count=0).worst() == ()


def test_annotators_are_counted() -> None:
    records = [corrected([], [], task_id=n, annotator=n % 2) for n in range(4)]
    assert report_of(*records).counts.annotators == 2


def test_each_person_has_a_row_of_their_own() -> None:
    records = [
        corrected([region("a", LEFT)], [region("a", LEFT)], task_id=1, annotator="ann@x", lead_time_s=10.0),
        corrected([region("a", LEFT)], [region("a", RIGHT)], task_id=2, annotator="bo@x", lead_time_s=20.0),
        corrected([region("a", LEFT)], [], task_id=3, annotator="bo@x", lead_time_s=40.0),
        corrected([], [region("a", LEFT)], task_id=4),
    ]
    nobody, ann, bo = report_of(*records).annotators
    assert (nobody.name, nobody.corrections, nobody.regions.added, nobody.median_seconds) == ("", 1, 1, None)
    assert (ann.name, ann.corrections, ann.regions.accepted_share, ann.median_seconds) == ("ann@x", 1, 1.0, 10.0)
    assert (bo.name, bo.corrections, bo.regions.changed, bo.regions.removed) == ("bo@x", 2, 1, 1)
    assert (bo.median_seconds, bo.pixels.painted_px) == (30.0, 24)


def test_objects_are_small_below_32_by_32_and_large_from_96_by_96() -> None:
    def square(side: int) -> Region:
        mask = np.zeros((128, 128), dtype=np.bool_)
        mask[:side, :side] = True
        return region(str(side), mask)

    before, after = [square(31), square(32), square(95)], [square(31), square(32), square(96)]
    small, medium, large = report_of(replace(corrected(before, after), size_hw=(128, 128))).sizes
    assert [(s.name, s.low_px, s.high_px) for s in (small, medium, large)] == [
        ("small", 0, 1024),
        ("medium", 1024, 9216),
        ("large", 9216, None),
    ]
    assert (small.regions.accepted, small.mean_iou) == (1, 1.0)
    assert (medium.regions.accepted, medium.regions.removed, medium.mean_iou) == (1, 1, 0.5)
    assert (large.regions.added, large.mean_iou) == (1, None)


def test_splits_count_for_their_category_and_their_person() -> None:
    whole, halves = [region("a", box(0, 0, 6, 8), "dog")], [region("a", LEFT, "dog"), region("b", RIGHT, "dog")]
    report = report_of(corrected(whole, halves), corrected(halves, whole, task_id=2, annotator=7))
    assert (report.regions.splits, report.regions.merges) == (1, 1)
    assert [(c.name, c.regions.splits, c.regions.merges) for c in report.categories] == [("cat", 0, 0), ("dog", 1, 1)]
    assert [(a.name, a.regions.splits, a.regions.merges) for a in report.annotators] == [("", 1, 0), ("7", 0, 1)]


def test_each_correction_is_a_row() -> None:
    scores = scores_of(
        corrected([region("a", LEFT)], [region("a", box(0, 0, 6, 2))], lead_time_s=3.0, project=4, model_version="v1"),
        replace(corrected([], [], task_id=2), size_hw=None),
    )
    first, second = scores.rows()
    assert (first.task_id, first.project, first.annotation_id, first.prediction_id) == (1, 4, 11, 21)
    assert (first.mean_iou, first.regions.changed, first.pixels.erased_px, first.seconds) == (0.5, 1, 12, 3.0)
    assert (second.mean_iou, second.seconds, second.regions.accepted) == (None, None, 0)
    assert scores.report("x").worst[0].project == 4

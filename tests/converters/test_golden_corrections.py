"""What a real Label Studio 1.23.2 exported after corrections (golden/record_corrections.py), against sums by hand.

Boxes of 10 rows in five images of 48 x 64, two predictions of them corrected, one of these twice:

    image 0, v1    cat 200 px accepted; dog 200 px grown to 300; cat 100 px removed; tree 200 px accepted;
                   dog 200 px added                                                              10 s
    image 1, v2    cat 200 px relabelled to dog                                                  20 s
    image 1, v2    the same cat accepted, by a second annotation                                 60 s
    image 2 skipped, image 3 labelled from nothing (90 s), image 4 left alone
"""

from pathlib import Path

import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from converters.corrections.result import CorrectionReport, PixelCounts, RegionCounts
from converters.datasets.coco import CocoOptions, records_to_coco
from converters.label_studio.categories import categories_of
from converters.label_studio.label_config import parse_label_config
from converters.label_studio.reader import read_export
from converters.report.evaluate_corrections import Evaluation, EvaluationOptions, evaluate_corrections
from converters.report.html import report_to_html
from converters.report.markdown import report_to_markdown
from converters.report.text import WHERE_PREDICTIONS_ARE

GOLDEN = Path(__file__).parent / "golden"


def evaluated(form: str, **options: bool) -> Evaluation:
    config = parse_label_config((GOLDEN / "corrections_config.xml").read_text(encoding="utf-8"))
    return evaluate_corrections(GOLDEN / f"corrections_{form}.json", config, EvaluationOptions(**options))


@pytest.fixture(scope="module", params=["snapshot", "api"])
def report(request: pytest.FixtureRequest) -> CorrectionReport:
    return evaluated(request.param).report


def test_what_went_in_and_what_was_compared(report: CorrectionReport) -> None:
    counts = report.counts
    assert (counts.images_in, counts.corrections_out, counts.annotators) == (5, 3, 1)
    assert (counts.predicted_regions, counts.annotated_regions) == (6, 6)
    assert counts.overlapping_px == 0
    assert counts.not_compared == {
        "skipped by the annotator": 1,
        "annotation made without a prediction": 1,
        "image that nobody has annotated": 1,
    }
    assert counts.left_out == {}


def test_regions_and_their_pixels(report: CorrectionReport) -> None:
    assert report.regions == RegionCounts(accepted=3, changed=2, relabelled=1, added=1, removed=1, accepted_share=0.5)
    assert report.pixels == PixelCounts(painted_px=300, erased_px=100, annotated_px=1300, changed_share=400 / 1300)
    assert report.median_changed_share == pytest.approx((100 / 300 + 0) / 2)  # grown, relabelled
    cat, dog, tree = report.categories
    assert (cat.regions, dog.regions) == (RegionCounts(2, 1, 1, 0, 1, 0.5), RegionCounts(0, 1, 0, 1, 0, 0.0))
    assert tree.regions == RegionCounts(1, 0, 0, 0, 0, 1.0)
    assert (dog.pixels.painted_px, dog.pixels.annotated_px) == (300, 500)


def test_confusion_and_iou(report: CorrectionReport) -> None:
    assert report.confusion.labels == ("background", "cat", "dog", "tree")
    background = 3 * 48 * 64 - 1300
    assert report.confusion.pixels == (
        (background - 100, 100, 0, 0),
        (0, 400, 0, 0),
        (300, 200, 200, 0),
        (0, 0, 0, 200),
    )
    assert [category.iou for category in report.categories] == [400 / 700, 200 / 700, 1.0]
    assert report.quality.mean_iou_without_background == pytest.approx((400 / 700 + 200 / 700 + 1) / 3)
    ious = [(background - 100) / (background + 300), 400 / 700, 200 / 700, 1]
    assert report.quality.mean_iou == pytest.approx(sum(ious) / 4)
    assert report.quality.pixel_accuracy == pytest.approx(1 - 600 / (3 * 48 * 64))


def test_boundaries_are_two_pixels_wide(report: CorrectionReport) -> None:
    strip_200, strip_100, strip_300 = 200 - 6 * 16, 100 - 6 * 6, 300 - 6 * 26
    shared = 4 * 20 + 6 * 2  # of the dog before and after: the long sides of the smaller, one short side
    cat = 2 * strip_200 / (3 * strip_200 + strip_100)
    dog = shared / (strip_200 + strip_300 - shared + 2 * strip_200)
    assert [c.boundary_iou for c in report.categories] == [pytest.approx(cat), pytest.approx(dog), 1.0]
    assert report.quality.mean_boundary_iou == pytest.approx((cat + dog + 1) / 3)


def test_panoptic_quality(report: CorrectionReport) -> None:
    found = [(c.panoptic_quality, c.segmentation_quality, c.recognition_quality) for c in report.categories]
    assert found[0] == (2 / 3, 1.0, 2 / 3)  # two found, the removed and the relabelled too many
    assert found[1] == pytest.approx((1 / 3, 2 / 3, 1 / 2))  # the grown found, the added and the relabelled missed
    assert found[2] == (1.0, 1.0, 1.0)
    assert report.quality.panoptic_quality == pytest.approx(2 / 3)


def test_reliability(report: CorrectionReport) -> None:
    found = report.reliability
    assert (found.scored_regions, found.unscored_regions) == (6, 0)
    assert [bin_.regions for bin_ in found.bins] == [0, 0, 0, 1, 0, 0, 1, 2, 1, 1]
    gaps = [abs(0.3 - 0), abs(0.6 - 2 / 3), 2 * abs(0.7 - 0.5), abs(0.8 - 1), abs(0.9 - 1)]
    assert found.iou_error == pytest.approx(sum(gaps) / 6)
    assert found.acceptance_error == pytest.approx((0.3 + 0.6 + 0.4 + 0.2 + 0.1) / 6)
    assert found.bins[7].accepted_share == 0.5


def test_versions_are_in_order_of_time(report: CorrectionReport) -> None:
    first, second = report.versions
    assert (first.model_version, first.corrections, second.model_version, second.corrections) == ("v1", 1, "v2", 2)
    assert first.first_seen < second.first_seen
    assert (first.regions.accepted_share, second.regions.accepted_share) == (0.5, 0.5)
    assert (first.median_seconds, second.median_seconds) == (10.0, 40.0)
    background = 2 * 48 * 64 - 400  # of v2, which has 200 px of cat right, and 200 px of dog called cat
    assert second.mean_iou == pytest.approx((background / background + 200 / 400 + 0) / 3)


def test_seconds(report: CorrectionReport) -> None:
    corrected, scratch = report.seconds.corrected, report.seconds.from_scratch
    assert (corrected.annotations, corrected.median, corrected.mean, corrected.total) == (3, 20.0, 30.0, 90.0)
    assert (scratch.annotations, scratch.median) == (1, 90.0)


def test_the_worst_come_first_and_perfect_ones_not_at_all(report: CorrectionReport) -> None:
    assert [(worst.task_id, worst.changed_px) for worst in report.worst] == [(2, 0), (1, 400)]
    assert [worst.mean_iou for worst in report.worst] == pytest.approx([0.0, (200 / 300 + 200 / 500 + 1) / 3])


def test_the_export_button_gives_only_what_annotations_keep_a_copy_of() -> None:
    report = evaluated("button").report
    counts = report.counts
    assert WHERE_PREDICTIONS_ARE in report_to_markdown(report)
    assert "{&quot;only_id&quot;: false}" in report_to_html(report)
    assert (counts.corrections_out, counts.predicted_regions) == (1, 4)
    assert counts.left_out == {"prediction that is not in the export": 2}
    assert counts.details[0] == "prediction that is not in the export: task 2, annotation 2"


def test_annotations_from_nothing_can_be_held_against_the_newest_prediction() -> None:
    assert evaluated("snapshot", unlinked=True).report.counts.corrections_out == 3  # image 3 has no prediction


def test_average_precision_of_its_coco_file_against_itself_is_one() -> None:
    config = parse_label_config((GOLDEN / "corrections_config.xml").read_text(encoding="utf-8"))
    records = read_export(GOLDEN / "corrections_snapshot.json", config)
    dataset, _ = records_to_coco(records, categories_of(config), CocoOptions(every_annotator=True))
    coco = COCO()
    coco.dataset = dataset
    coco.createIndex()
    results = coco.loadRes([{**annotation, "score": 1.0} for annotation in dataset["annotations"]])
    for kind in ("segm", "bbox"):
        evaluation = COCOeval(coco, results, kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        assert evaluation.stats[0] == 1.0

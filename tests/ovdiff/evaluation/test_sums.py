"""Figures of a dataset, held against scikit-learn, torchmetrics and cases counted by hand."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, balanced_accuracy_score, jaccard_score
from torchmetrics.functional.classification import multiclass_jaccard_index

from converters.metrics.boundary import boundary_iou
from ovdiff.evaluation.asked_words import AskedWord
from ovdiff.evaluation.dataset import UNKNOWN, Truth
from ovdiff.evaluation.figures import FoundMask, ImageFigures, SmallVocabulary, compare
from ovdiff.evaluation.sums import totals_of
from ovdiff.segmentation import Segmentation
from ovdiff.vocabulary import Category

CATEGORIES = (Category("boat", kind="thing"), Category("car", kind="thing"), Category("sky", kind="stuff"))
Maps = list[tuple[NDArray[np.int32], NDArray[np.int32]]]


@pytest.fixture(scope="module")
def maps() -> Maps:
    """Return 14 images of different sizes as pairs (truth, given), right for the most part."""
    rng = np.random.default_rng(5)
    found = []
    for _ in range(14):
        size = (int(rng.integers(5, 12)), int(rng.integers(5, 12)))
        truth = rng.integers(0, 4, size).repeat(2, 0).repeat(2, 1).astype(np.int32)
        given = np.where(rng.random(truth.shape) < 0.8, truth, rng.integers(0, 4, truth.shape)).astype(np.int32)
        truth[rng.random(truth.shape) < 0.1] = UNKNOWN
        found.append((truth, given))
    return found


def figures_of(maps: Maps) -> list[ImageFigures]:
    found = []
    for number, (truth, given) in enumerate(maps):
        scores = np.full(given.shape, 0.5, np.float32)
        found.append(compare(str(number), Truth(truth), Segmentation(given, scores, scores), len(CATEGORIES)))
    return found


def flat(maps: Maps) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    truth = np.concatenate([true.ravel() for true, _ in maps])
    given = np.concatenate([given.ravel() for _, given in maps])
    return truth[truth != UNKNOWN], given[truth != UNKNOWN]


def test_iou_and_accuracies_are_those_of_scikit_learn_and_torchmetrics(maps: Maps) -> None:
    totals, (truth, given) = totals_of(figures_of(maps), CATEGORIES), flat(maps)
    assert totals.measures.miou == pytest.approx(jaccard_score(truth, given, average="macro"))
    assert totals.measures.pixel_accuracy == pytest.approx(accuracy_score(truth, given))
    assert totals.measures.mean_accuracy == pytest.approx(balanced_accuracy_score(truth, given))
    theirs = multiclass_jaccard_index(torch.from_numpy(given), torch.from_numpy(truth), 4, average="none")
    assert [row.iou for row in totals.categories] == pytest.approx(theirs.tolist(), abs=1e-6)
    without = jaccard_score(truth, given, average="macro", labels=[1, 2, 3])
    assert totals.measures.miou_without_background == pytest.approx(without)
    assert totals.images == 14


def test_without_background_the_mean_is_over_the_categories(maps: Maps) -> None:
    maps = [(np.where(true == 0, UNKNOWN, true).astype(np.int32), given) for true, given in maps]
    totals = totals_of(figures_of(maps), CATEGORIES, counts_background=False)
    truth, given = flat(maps)
    assert totals.measures.miou == pytest.approx(jaccard_score(truth, given, average="macro", labels=[1, 2, 3]))
    assert [row.name for row in totals.categories] == ["boat", "car", "sky"]
    assert totals.measures.miou_interval is not None
    low, high = totals.measures.miou_interval
    assert low < totals.measures.miou < high


def test_boundary_iou_divides_sums(maps: Maps) -> None:
    (truth, given), *_ = maps
    truth = truth.clip(0)
    totals = totals_of(figures_of([(truth, given)]), CATEGORIES)
    expected = [boundary_iou(truth == label, given == label) for label in (1, 2, 3)]
    assert [row.boundary_iou for row in totals.categories[1:]] == pytest.approx(expected)
    assert totals.measures.boundary_iou == pytest.approx(np.mean(expected))


def test_the_order_of_images_changes_no_count(maps: Maps) -> None:
    forward, backward = (totals_of(some, CATEGORIES) for some in (figures_of(maps), figures_of(maps)[::-1]))
    np.testing.assert_array_equal(forward.confusion, backward.confusion)
    assert forward.measures.miou == backward.measures.miou
    assert forward.measures.boundary_iou == backward.measures.boundary_iou


def test_a_category_that_occurs_nowhere_has_no_figure(maps: Maps) -> None:
    totals = totals_of(figures_of(maps), CATEGORIES[:3])
    more = totals_of(figures_of(maps), CATEGORIES)
    assert totals.measures.miou == more.measures.miou
    row = totals_of([compare_empty()], CATEGORIES).categories[1]
    assert (row.iou, row.accuracy, row.precision, row.boundary_iou, row.images) == (None, None, None, None, 0)


def compare_empty() -> ImageFigures:
    nothing = np.zeros((4, 4), np.int32)
    scores = np.zeros((4, 4), np.float32)
    return compare("empty", Truth(nothing), Segmentation(nothing, scores, scores), len(CATEGORIES))


def test_each_category_names_what_it_was_taken_for() -> None:
    figures = ImageFigures("a", (10, 10), ((1, 1, 50), (1, 2, 30), (1, 0, 10), (2, 2, 10)), (), ())
    rows = totals_of([figures], CATEGORIES).categories
    assert rows[1].confused_with == ("car", 30 / 90)
    assert rows[2].confused_with is None
    assert (rows[1].accuracy, rows[2].precision) == (50 / 90, 10 / 40)


def test_panoptic_quality_is_a_mean_over_the_categories_of_a_kind() -> None:
    one = ImageFigures("a", (9, 9), (), (), (), segments=((1, 2, 0, 0, 1.6), (3, 1, 0, 0, 0.9)))
    two = ImageFigures("b", (9, 9), (), (), (), segments=((1, 0, 1, 1, 0.0), (2, 0, 1, 0, 0.0)))
    measures = totals_of([one, two], CATEGORIES).measures
    boat, car, sky = 1.6 / 3, 0.0, 0.9
    assert measures.pq == pytest.approx((boat + car + sky) / 3)
    assert measures.pq_things == pytest.approx((boat + car) / 2)
    assert measures.pq_stuff == pytest.approx(sky)
    assert measures.sq == pytest.approx((0.8 + 0 + 0.9) / 3)
    assert measures.rq == pytest.approx((2 / 3 + 0 + 1) / 3)


def test_without_segments_or_objects_there_is_no_figure_of_them(maps: Maps) -> None:
    measures = totals_of(figures_of(maps), CATEGORIES).measures
    assert (measures.pq, measures.ap, measures.pq_things) == (None, None, None)


def test_objects_have_an_average_precision(maps: Maps) -> None:
    masks = (FoundMask(1, "0P1", 0.5),)  # all 16 pixels
    found = ImageFigures("a", (4, 4), (), (), (), found=masks, true=masks)
    missed = ImageFigures("b", (4, 4), (), (), (), found=(), true=masks)
    assert totals_of([found], CATEGORIES).measures.ap == pytest.approx(1)
    both = totals_of([found, missed], CATEGORIES)
    assert both.measures.ap50 == pytest.approx(0.5, abs=0.01)
    assert [row.ap for row in both.categories[2:]] == [None, None]


def test_words_are_counted_for_each_size_and_scores_are_held_against_outcomes() -> None:
    painted = ((1, 1, 40), (0, 0, 30), (0, 2, 30))
    small = SmallVocabulary(2, ((2, AskedWord(0, 0.3, 0, 0.4)), (3, AskedWord(0, 0, 0, 0))))
    figures = ImageFigures("a", (10, 10), painted, (), ((1, 0.9), (2, 0.4)), small=(small,))
    totals = totals_of([figures], CATEGORIES)
    assert totals.measures.words is not None
    assert totals.measures.words["all"]["absent painted"] == 1 / 2  # car is painted, sky is not
    assert totals.measures.words["all"]["present painted"] == 1
    assert totals.measures.words["all"]["absent"] == 2
    assert totals.measures.words["2"]["absent painted"] == 1 / 2
    assert totals.measures.score_error == pytest.approx((0.1 + 0.4) / 2)


def test_seconds_are_means() -> None:
    images = [ImageFigures(str(s), (1, 1), (), (), (), seconds={"segment": s}) for s in (0.1, 0.3)]
    assert totals_of(images, CATEGORIES).seconds == {"segment": pytest.approx(0.2)}


def test_an_image_s_confusion_matrix_is_built_once(maps: Maps, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []
    confusion = ImageFigures.confusion

    def counted(image: ImageFigures, category_count: int) -> NDArray[np.int64]:
        built.append(image.image)
        return confusion(image, category_count)

    monkeypatch.setattr(ImageFigures, "confusion", counted)
    totals = totals_of(figures_of(maps), CATEGORIES)
    assert built == list(totals.image_mious) == [str(number) for number in range(14)]
    truth, given = flat(maps[3:4])
    labels = sorted(set(truth) | set(given))
    assert totals.image_mious["3"] == pytest.approx(jaccard_score(truth, given, average="macro", labels=labels))

"""One image compared with the truth."""

import json
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from converters.encodings.coco_rle import mask_to_coco_rle
from converters.metrics.boundary import boundary_iou
from converters.metrics.panoptic_quality import SegmentMap
from ovdiff.errors import EvaluationError
from ovdiff.evaluation.asked_words import AskedWord
from ovdiff.evaluation.dataset import UNKNOWN, TrueObject, Truth
from ovdiff.evaluation.figures import ImageFigures, asked_alone, compare, segments_of
from ovdiff.segmentation import FoundObject, Segmentation


def segmentation(label_map: NDArray[np.integer], score: float = 0.5) -> Segmentation:
    filled = np.full(label_map.shape, score, dtype=np.float32)
    return Segmentation(label_map.astype(np.int32), filled, filled)


@pytest.fixture
def truth() -> NDArray[np.int32]:
    """Return 10 x 20 px: 60 of background, 80 of label 1, 40 of label 3, 20 unknown."""
    found = np.zeros((10, 20), np.int32)
    found[:, :8], found[:, 8:12], found[:, 12:14] = 1, 3, UNKNOWN
    return found


@pytest.fixture
def given() -> NDArray[np.int32]:
    """Return 10 x 20 px: label 1 in half of its place, label 2 in the unknown pixels and in 10 of background."""
    found = np.zeros((10, 20), np.int32)
    found[:5, :8], found[:, 8:12], found[:, 12:15] = 1, 3, 2
    return found


def test_pairs_of_labels_are_counted_without_unknown_pixels(truth: NDArray[np.int32], given: NDArray[np.int32]) -> None:
    figures = compare("a", Truth(truth), segmentation(given), 3)
    assert figures.pixels == ((0, 0, 50), (0, 2, 10), (1, 0, 40), (1, 1, 40), (3, 3, 40))
    confusion = figures.confusion(3)
    assert confusion.sum() == 180
    assert confusion[1, 0] == 40


def test_boundaries_are_those_of_each_mask(truth: NDArray[np.int32], given: NDArray[np.int32]) -> None:
    truth[truth == UNKNOWN] = 0
    figures = compare("a", Truth(truth), segmentation(given), 3)
    found = {label: both / either for label, both, either in figures.boundaries}
    assert found[1] == boundary_iou(truth == 1, given == 1)
    assert found[3] == 1
    assert found[2] == 0


def test_words_say_what_became_of_each_category(truth: NDArray[np.int32], given: NDArray[np.int32]) -> None:
    words = dict(compare("a", Truth(truth), segmentation(given), 3).words())
    assert words == {
        1: AskedWord(80 / 180, 40 / 180, 0.5, 0.5),
        2: AskedWord(0.0, 10 / 180, 0.0, 0.5),
        3: AskedWord(40 / 180, 40 / 180, 1.0, 0.5),
    }


def test_segments_and_objects_are_compared_where_the_truth_has_them(given: NDArray[np.int32]) -> None:
    ids = np.zeros((10, 20), np.int32)
    ids[:, :8], ids[:, 8:12] = 1, 2
    objects = (TrueObject(1, ids == 1), TrueObject(3, ids == 2, is_crowd=True))
    truth = Truth(np.array([0, 1, 3], np.int32)[ids], SegmentMap(ids, (1, 3)), objects=objects)
    found = [FoundObject(0, given == 1, 0.9), FoundObject(2, given == 3, 0.25), FoundObject(1, given == 2, 0.1)]
    figures = compare("a", truth, segmentation(given), 3, segments=segments_of(found, (10, 20)), found=found)
    assert figures.segments == ((1, 0, 1, 1, 0.0), (2, 0, 1, 0, 0.0), (3, 1, 0, 0, 1.0))
    assert figures.found is not None
    assert figures.true is not None
    assert [(each.label, each.score) for each in figures.found] == [(1, 0.9), (3, 0.25), (2, 0.1)]
    assert figures.found[1].rle == mask_to_coco_rle(ids == 2)["counts"]
    assert [(each.label, each.is_crowd) for each in figures.true] == [(1, False), (3, True)]


def test_without_truth_of_a_kind_there_is_no_figure_of_it(truth: NDArray[np.int32], given: NDArray[np.int32]) -> None:
    found = [FoundObject(0, given == 1, 0.9)]
    figures = compare("a", Truth(truth), segmentation(given), 3, segments=segments_of(found, (10, 20)), found=found)
    assert (figures.segments, figures.found, figures.true) == (None, None, None)


def test_a_crowd_is_passed_on(given: NDArray[np.int32]) -> None:
    segments = SegmentMap((given == 3).astype(np.int32), (3,))
    missed = SegmentMap(np.zeros_like(given), ())
    label_map = np.where(given == 3, 3, 0).astype(np.int32)
    plain, crowd = (Truth(label_map, segments, crowds=frozenset(crowds)) for crowds in ((), (1,)))
    assert compare("a", plain, segmentation(given), 3, segments=missed).segments == ((3, 0, 0, 1, 0.0),)
    assert compare("a", crowd, segmentation(given), 3, segments=missed).segments == ()


def test_a_small_vocabulary_is_held_against_its_own_words(truth: NDArray[np.int32], given: NDArray[np.int32]) -> None:
    alone = np.zeros_like(given)
    alone[given == 3] = 1  # of the vocabulary (3, 2) the first word
    small = asked_alone(Truth(truth), segmentation(alone, 0.75), (3, 2), 3)
    assert small.size == 2
    assert dict(small.words) == {3: AskedWord(40 / 180, 40 / 180, 1.0, 0.75), 2: AskedWord(0.0, 0.0, 0.0, 0.0)}


def test_figures_survive_json(truth: NDArray[np.int32], given: NDArray[np.int32]) -> None:
    ids = (truth == 1).astype(np.int32)
    objects = (TrueObject(1, ids == 1),)
    found = [FoundObject(0, given == 1, 1 / 3)]
    figures = compare(
        "b/c.jpg",
        Truth(truth, SegmentMap(ids, (1,)), objects=objects),
        segmentation(given),
        3,
        segments=segments_of(found, (10, 20)),
        found=found,
        small=[asked_alone(Truth(truth), segmentation(given), (1, 2, 3), 3)],
    )
    figures = replace(figures, seconds={"segment": 0.1235})
    assert ImageFigures.from_json(json.loads(json.dumps(figures.to_json()))) == figures


@pytest.mark.parametrize("lost", ["image", "pixels", "small"])
def test_a_line_that_lacks_something_is_refused(truth: NDArray[np.int32], lost: str) -> None:
    line = compare("a", Truth(truth), segmentation(np.zeros_like(truth)), 3).to_json()
    del line[lost]
    with pytest.raises(EvaluationError, match=f"KeyError: '{lost}'"):
        ImageFigures.from_json(line)


def test_sizes_that_differ_are_refused_with_both(truth: NDArray[np.int32]) -> None:
    with pytest.raises(EvaluationError, match=r"Image 'a' .* 20 x 9 and 20 x 10 px"):
        compare("a", Truth(truth), segmentation(truth[:9].clip(0)), 3)


def test_labels_beyond_the_vocabulary_are_refused(truth: NDArray[np.int32], given: NDArray[np.int32]) -> None:
    with pytest.raises(EvaluationError, match="true labels from 0 to 2, got 3"):
        compare("a", Truth(truth), segmentation(given.clip(0, 2)), 2)
    with pytest.raises(EvaluationError, match="given labels from 0 to 2, got 3"):
        compare("a", replace(Truth(truth), label_map=truth.clip(UNKNOWN, 2)), segmentation(given), 2)
